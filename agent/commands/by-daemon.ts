/** Asks the daemon to do what a command is for, where one runs: storage and token are its own then. */
import { isFailureCode } from '../errors.ts';
import { askDaemon, type Question } from '../io/api/client.ts';
import type { CommandContext } from './context.ts';
import { failureResult, type CommandResult } from './result.ts';

/**
 * @param question - a path to POST to, or more
 * @param act - does it in this process
 */
export async function byDaemonOr(
  context: CommandContext,
  question: string | Question,
  act: () => Promise<CommandResult>,
): Promise<CommandResult> {
  const asked =
    typeof question === 'string' ? ({ method: 'POST', path: question } as const) : question;
  const answer = await askDaemon(context.loaded.settings.api.socket, asked);
  return answer === undefined ? act() : resultOf(answer);
}

/** What `serve-api.ts` made of a result, taken apart again. */
function resultOf({ exit, lines, ...json }: Record<string, unknown>): CommandResult {
  if (typeof exit === 'number') {
    return { exit, json, lines: Array.isArray(lines) ? lines.map(String) : [] };
  }
  const { code, details } = json;
  if (typeof code === 'string' && isFailureCode(code)) {
    return failureResult(code, typeof details === 'object' && details !== null ? details : {});
  }
  return { exit: 1, json, lines: [`the daemon answered ${JSON.stringify(json)}`] };
}
