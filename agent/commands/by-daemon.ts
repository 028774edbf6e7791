/** Asks the daemon to do what a command is for, where one runs: storage and token are its own then. */
import { isFailureCode } from '../errors.ts';
import { askDaemon } from '../io/api-client.ts';
import type { CommandContext } from './context.ts';
import { failureResult, type CommandResult } from './result.ts';

/** @param act - does it in this process */
export async function byDaemonOr(
  context: CommandContext,
  path: string,
  act: () => Promise<CommandResult>,
): Promise<CommandResult> {
  const answer = await askDaemon(context.loaded.settings.api.socket, 'POST', path);
  if (answer === undefined) return act();
  const { exit, json, lines, code, details } = answer;
  if (typeof code === 'string' && isFailureCode(code)) {
    return failureResult(code, typeof details === 'object' && details !== null ? details : {});
  }
  if (typeof exit !== 'number' || typeof json !== 'object' || json === null) {
    return { exit: 1, json: answer, lines: [`the daemon answered ${JSON.stringify(answer)}`] };
  }
  return { exit, json, lines: Array.isArray(lines) ? lines.map(String) : [] };
}
