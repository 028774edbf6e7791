/** `ota-agent doctor`: everything that has to be right, one line each, with the remedy. */
import { fork } from 'node:child_process';

import { handlingOf } from '../errors.ts';
import type { Result } from './doctor/check.ts';
import { CHECKS } from './doctor/checks.ts';
import { EXAMINER, failed } from './doctor/examine.ts';
import type { Order, Report } from './doctor/examiner.ts';
import type { CommandResult } from './result.ts';

/** Above what a check gives itself: one that reaches this blocks its process. */
const STUCK_MS = 15_000;

/** How checks are run. */
interface Process {
  /** After that long a check that blocks its process is ended with it. */
  readonly stuckMs: number;
  readonly env: NodeJS.ProcessEnv;
}

/** Changes nothing, may be run beside the daemon, and ends with the exit code of the worst finding. */
export async function doctorCommand(
  config: readonly string[],
  { stuckMs = STUCK_MS, env = process.env }: Partial<Process> = {},
): Promise<CommandResult> {
  const results = await examineSafely(config, { stuckMs, env });
  const outcome = worstStatus(results);
  return {
    exit: worstExit(results),
    json: { outcome, checks: results.map(resultJson) },
    lines: results.flatMap(resultLines),
    isReport: true,
  };
}

/** Starts again after a check that took its process with it; each does so once at most. */
async function examineSafely(config: readonly string[], how: Process): Promise<readonly Result[]> {
  const fatal: Result[] = [];
  for (;;) {
    const { results, killer } = await examineInChild({ config, given: fatal }, how);
    if (killer === undefined) return results;
    fatal.push(killer);
  }
}

interface Examined {
  readonly results: readonly Result[];
  /** The check during which the process ended. */
  readonly killer?: Result;
}

function examineInChild(order: Order, { stuckMs, env }: Process): Promise<Examined> {
  return new Promise((resolve, reject) => {
    const results: Result[] = [];
    let current = '';
    let isDone = false;
    let ended = 'crashed';
    // Libraries write to standard error as they like, and ask terminals for PINs.
    const child = fork(EXAMINER, [], { env, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const kill = (): void => {
      ended = `did not come back within ${String(stuckMs / 1000)} s`;
      child.kill('SIGKILL');
    };
    let timer = setTimeout(kill, stuckMs);
    child.on('message', (report: Report) => {
      clearTimeout(timer);
      timer = setTimeout(kill, stuckMs);
      if ('begun' in report) current = report.begun;
      else if ('ended' in report) results.push(report.ended);
      else isDone = true;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (isDone) {
        resolve({ results });
        return;
      }
      const how = ended === 'crashed' ? `crashed (${signal ?? `exit ${String(code)}`})` : ended;
      const check = CHECKS.find(({ name }) => name === current);
      if (check === undefined) reject(new Error(`the examiner ${how} before its first check`));
      else
        resolve({ results, killer: failed(check.name, check.code, `this check ${how}`, FOREIGN) });
    });
    child.send(order);
  });
}

const FOREIGN =
  'a library that the check calls did that: update or replace it (token.module, engine, provider)';

/** The cause of trouble before its effects: what has to be mended first decides. */
const BY_GRAVITY: readonly number[] = [1, 2, 50, 32, 40, 41, 20, 31, 30, 21, 3];

function worstExit(results: readonly Result[]): number {
  const exits = results.map(({ status, code }) =>
    status === 'fail' ? handlingOf(code ?? 'BUG').exit : 0,
  );
  return BY_GRAVITY.find((exit) => (exits as readonly number[]).includes(exit)) ?? 0;
}

function worstStatus(results: readonly Result[]): 'ok' | 'warn' | 'fail' {
  const has = (wanted: Result['status']): boolean =>
    results.some(({ status }) => status === wanted);
  return has('fail') ? 'fail' : has('warn') ? 'warn' : 'ok';
}

function resultJson({ name, status, detail, remedy, code }: Result): object {
  return { name, status, detail, remedy: remedy ?? null, code: code ?? null };
}

const MARKS = { ok: '✔', warn: '!', fail: '✘', skipped: '-' } as const;
const NAME_WIDTH = Math.max(...CHECKS.map(({ name }) => name.length)) + 2;

function resultLines({ name, status, detail, remedy, code }: Result): readonly string[] {
  const what = status === 'skipped' ? `skipped: ${detail}` : detail;
  const coded = code === undefined ? what : `${code}: ${what}`;
  const line = `${MARKS[status]} ${name.padEnd(NAME_WIDTH)}${coded}`;
  return [remedy === undefined ? line : `${line}. What to do: ${remedy}`];
}
