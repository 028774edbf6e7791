/** What a process has started, and whether it has gone with it. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

/** What a daemon may take from the signal to its end, in every phase: CHANGELOG.md. */
const STOP_MS = 2000;

/** The number may be another one's later; the time of its start is not. */
interface Started {
  readonly pid: number;
  readonly since: string;
  readonly command: string;
}

/** Every process below `pid`, in whatever group or session, started by whichever thread. */
export function descendantsOf(pid: number): readonly Started[] {
  const children = entriesOf(`/proc/${String(pid)}/task`).flatMap((thread) =>
    read(`/proc/${String(pid)}/task/${thread}/children`)
      .split(' ')
      .filter(Boolean)
      .map(Number),
  );
  return children.flatMap((child) => {
    const command = read(`/proc/${String(child)}/cmdline`).replaceAll('\0', ' ');
    const since = startOf(child);
    const below = descendantsOf(child);
    return since === undefined ? below : [{ pid: child, since, command }, ...below];
  });
}

/**
 * The daemon ends well and in time, and nothing that it has started outlives it.
 *
 * @param tell - by default SIGTERM to its main process, as systemd does with `KillMode=mixed`
 * @returns the command lines of what it had started
 */
export async function demandStops(
  daemon: ChildProcess,
  tell = (): unknown => daemon.kill('SIGTERM'),
): Promise<readonly string[]> {
  const started = descendantsOf(daemon.pid ?? 0);
  const exited = once(daemon, 'exit');
  const began = performance.now();
  tell();
  const ended = await exited;
  const tookMs = performance.now() - began;
  assert.deepEqual(ended, [0, null]);
  assert.ok(tookMs < STOP_MS, `took ${tookMs.toFixed(0)} ms`);
  await demandGone(started);
  return started.map(({ command }) => command);
}

/** Killed is not gone: each is given its turn. */
export async function demandGone(started: readonly Started[]): Promise<void> {
  let left = started;
  for (let attempt = 0; left.length > 0 && attempt < 100; attempt += 1) {
    if (attempt > 0) await setTimeout(20);
    left = left.filter(({ pid, since }) => startOf(pid) === since);
  }
  assert.deepEqual(left, [], 'they outlived what had started them');
}

/** proc(5): field 22; `undefined` once it has ended, even if nobody has taken note. */
function startOf(pid: number): string | undefined {
  const text = read(`/proc/${String(pid)}/stat`);
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function entriesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Empty for a process that has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
