/** Runs checks one after the other: none is kept from running by one that it does not stand on. */
import { extname, join } from 'node:path';

import { causeOf, isOtaError, type AnyOtaError, type FailureCode } from '../../errors.ts';
import { remedyOf } from '../../remedies.ts';
import type { Check, Examination, Finding, Result } from './check.ts';

/** The program of the process that checks run in. */
export const EXAMINER = join(import.meta.dirname, `examiner${extname(import.meta.filename)}`);
/** Of one check, as far as it waits; `doctor.ts` ends those that do not come back. */
const CHECK_MS = 10_000;

/**
 * @param given - results that are known: checks that ended this process before
 * @param say - is told before each check and after it
 */
export async function examineAll(
  checks: readonly Check[],
  examination: Examination,
  given: ReadonlyMap<string, Result>,
  say: { readonly begun: (name: string) => void; readonly ended: (result: Result) => void },
): Promise<void> {
  /** By name of a check that has no finding of its own: the one that failed in the end. */
  const blocked = new Map<string, string>();
  for (const check of checks) {
    say.begun(check.name);
    const cause = check.needs.map((need) => blocked.get(need)).find((one) => one !== undefined);
    const result =
      cause === undefined
        ? (given.get(check.name) ?? (await examineOne(check, examination)))
        : skipped(check.name, cause);
    if (cause !== undefined) blocked.set(check.name, cause);
    else if (result.status === 'fail') blocked.set(check.name, check.name);
    say.ended(result);
  }
}

function skipped(name: string, cause: string): Result {
  return { name, status: 'skipped', detail: `because of ${cause}` };
}

async function examineOne(check: Check, examination: Examination): Promise<Result> {
  const { name, code } = check;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Result>((resolve) => {
    timer = setTimeout(() => {
      resolve(failed(name, code, `no answer within ${String(CHECK_MS / 1000)} s`));
    }, CHECK_MS);
  });
  const examined = Promise.resolve()
    .then(() => check.examine(examination))
    .then((finding: Finding): Result => ({ name, ...finding }))
    .catch((error: unknown) =>
      isOtaError(error) ? refused(name, error) : failed(name, code, causeOf(error)),
    );
  return Promise.race([examined, late]).finally(() => {
    clearTimeout(timer);
  });
}

function refused(name: string, error: AnyOtaError): Result {
  const { code, details } = error;
  const facts = Object.entries(details)
    .filter(([key, value]) => key !== 'remedy' && value !== '' && !(key === 'line' && value === 0))
    .map(([key, value]) => `${key} ${String(value)}`);
  const detail = facts.join(', ');
  return { name, status: 'fail', detail, remedy: remedyOf(code, details), code };
}

/** A failure that nobody has put into words. */
export function failed(name: string, code: FailureCode, detail: string, remedy = ''): Result {
  const known = remedy || remedyOf(code, {});
  return { name, status: 'fail', detail, code, remedy: known || 'see the detail; run it again' };
}
