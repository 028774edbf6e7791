/** The end of a process that a test has started. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Waits for it; one that has ended, or never was, is let be. */
export async function endChild(
  child: ChildProcess | undefined,
  signal: NodeJS.Signals,
): Promise<void> {
  if (child?.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
