/** `ota-agent explain`: what a failure code means, who acts, and what to do; all of it from the tables. */
import {
  FAILURE_CODES,
  handlingOf,
  isFailureCode,
  OtaError,
  type FailureCode,
  type FailureRow,
} from '../errors.ts';
import { MEANINGS } from '../meanings.ts';
import { remedyOf } from '../remedies.ts';
import type { CommandResult } from './result.ts';

/**
 * @param rest - a code, in any case; `--markdown` for the whole table; nothing for a list
 * @throws OtaError USAGE
 */
export function explainCommand(rest: readonly string[]): CommandResult {
  const [first, ...more] = rest;
  if (more.length > 0) throw usage(`explain does not take ${more.join(' ')}`);
  if (first === undefined) return listResult();
  if (first === '--markdown') {
    const lines = failuresDocument();
    return { exit: 0, json: { lines }, lines };
  }
  const code = first.toUpperCase();
  if (!isFailureCode(code)) throw usage(`no such failure code: ${first}${similar(code)}`);
  const { kind, retry, exit, attack } = handlingOf(code);
  const [meaning, remedy] = [MEANINGS[code], remedyFor(code)];
  const json = { code, meaning, kind, retry, exit, attack: attack ?? null, remedy };
  return {
    exit: 0,
    json,
    lines: [
      `${code}: ${meaning}`,
      ...(attack === undefined ? [] : [`  looks like: ${attack}`]),
      `  who acts:   ${WHO[kind]}`,
      `  the daemon: ${RETRIES[retry]}`,
      `  exit code:  ${String(exit)}`,
      `  what to do: ${remedy}`,
    ],
  };
}

const WHO: Readonly<Record<FailureRow['kind'], string>> = {
  attack: 'who runs the repositories: this is what an attack looks like',
  repository: 'who runs the repositories',
  transport: 'nobody, if it passes; else who runs the network or the gateway',
  device: 'who looks after this device',
  operator: 'who called the command or wrote the configuration',
  bug: 'who maintains ota-agent',
};

const RETRIES: Readonly<Record<FailureRow['retry'], string>> = {
  'next-poll': 'tries again at the next poll',
  backoff: 'tries again soon, then ever later',
  never: 'does not try again by itself',
};

function remedyFor(code: FailureCode): string {
  return remedyOf(code, {}) || 'its message says what to do in each case';
}

function usage(what: string): OtaError<'USAGE'> {
  return new OtaError('USAGE', { what, remedy: 'ota-agent explain lists all codes' });
}

function similar(text: string): string {
  const found = FAILURE_CODES.filter((code) => text.length > 2 && code.includes(text));
  return found.length === 0 ? '' : ` (is it ${found.join(' or ')}?)`;
}

function listResult(): CommandResult {
  const width = Math.max(...FAILURE_CODES.map(({ length }) => length)) + 2;
  return {
    exit: 0,
    json: { codes: FAILURE_CODES.map((code) => ({ code, meaning: MEANINGS[code] })) },
    lines: FAILURE_CODES.map((code) => `${code.padEnd(width)}${MEANINGS[code]}`),
  };
}

/** FAILURES.md, as the formatter of this repository wants it. */
function failuresDocument(): readonly string[] {
  return [
    '# Failures by code',
    '',
    'Made by `ota-agent explain --markdown` from the tables in `agent/errors.ts`, `agent/meanings.ts` and `agent/remedies.ts`; a test keeps it so. `ota-agent explain CODE` says the same on the device.',
    '',
    'Every failure has a code, which is stable, and facts, which the command prints below it and has in `details` of `--json`. A code is in the log, in `status`, in metrics, and in reports to the Director.',
    ...FAILURE_CODES.flatMap((code) => {
      const { kind, retry, exit, attack } = handlingOf(code);
      return [
        '',
        `## ${code}`,
        '',
        MEANINGS[code],
        '',
        `- What to do: ${remedyFor(code)}.`,
        `- Who acts: ${WHO[kind]}.`,
        `- The daemon ${RETRIES[retry]}; a command ends with exit code ${String(exit)}.`,
        ...(attack === undefined ? [] : [`- Uptane attack: ${attack}.`]),
      ];
    }),
  ];
}
