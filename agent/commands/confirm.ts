import { confirmByHand, rollBackByHand } from '../cycle/by-hand.ts';
import { askDaemon } from '../io/api-client.ts';
import { withLocalAgent, type CommandContext } from './context.ts';
import { outcomeResult, type CommandResult } from './result.ts';

/** Marks the running image good: in the daemon where one runs, else here. */
export function confirmCommand(context: CommandContext): Promise<CommandResult> {
  return byDaemonOr(context, '/confirm', () =>
    withLocalAgent(context, async ({ ports }) => outcomeResult(await confirmByHand(ports))),
  );
}

/** Goes back to the previous image: in the daemon where one runs, else here. */
export function rollbackCommand(context: CommandContext): Promise<CommandResult> {
  return byDaemonOr(context, '/rollback', () =>
    withLocalAgent(context, async ({ ports }) => outcomeResult(await rollBackByHand(ports))),
  );
}

async function byDaemonOr(
  context: CommandContext,
  path: string,
  act: () => Promise<CommandResult>,
): Promise<CommandResult> {
  const answer = await askDaemon(context.loaded.settings.api.socket, 'POST', path);
  if (answer === undefined) return act();
  const { exit, json, lines } = answer;
  if (typeof exit !== 'number' || typeof json !== 'object' || json === null) {
    return { exit: 1, json: answer, lines: [`the daemon answered ${JSON.stringify(answer)}`] };
  }
  return { exit, json, lines: Array.isArray(lines) ? lines.map(String) : [] };
}
