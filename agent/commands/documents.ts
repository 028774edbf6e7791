/** `ota-agent completion` and `ota-agent man`. */
import { completionScript, manPage, SHELLS } from '../cli-documents.ts';
import { expectNothing } from '../cli.ts';
import { OtaError } from '../errors.ts';
import { VERSION } from '../version.ts';
import type { CommandResult } from './result.ts';

/** @throws OtaError USAGE */
export function documentsCommand(
  command: 'completion' | 'man',
  rest: readonly string[],
): CommandResult {
  if (command === 'man') {
    expectNothing(command, rest);
    return linesResult(manPage(VERSION));
  }
  const shell = SHELLS.find((one) => one === rest[0]);
  if (shell !== undefined && rest.length === 1) return linesResult(completionScript(shell));
  const what = `completion does not take ${rest.join(' ') || 'nothing'}`;
  throw new OtaError('USAGE', { what, remedy: `ota-agent completion ${SHELLS.join('|')}` });
}

function linesResult(lines: readonly string[]): CommandResult {
  return { exit: 0, json: { lines }, lines };
}
