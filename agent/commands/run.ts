/** The daemon: a small process that waits, and starts another one for whatever is more than that. */
import { openServiceNotifier } from '../io/systemd.ts';
import type { CommandResult } from './result.ts';
import { stopSignal, WAIT_GRACE_MS } from './run/stop-signal.ts';
import { Waiting } from './run/waiting.ts';

/**
 * Runs until SIGTERM or SIGINT. Being killed in any other way loses nothing either.
 *
 * What it imports stays in memory for as long as the device runs: no settings, no storage, no token.
 *
 * @param config - as on the command line
 * @throws OtaError what the first worker could not do without, STORAGE_BUSY
 */
export function runCommand(config: readonly string[]): Promise<CommandResult> {
  const notifier = openServiceNotifier(process.env);
  return new Waiting(config, notifier, stopSignal(WAIT_GRACE_MS)).run();
}
