/** How updates ended that the Director has not heard of: offline, it may be years until it does. */
import type { Transaction } from './database.ts';
import { getFact, putFact } from './fact.ts';

const FACT = 'postponed_reports';
/** More would only fill the disk: the newest say what runs. */
const REPORTS = 32;

export async function addPostponed(t: Transaction, result: string): Promise<void> {
  const before = parsePostponed(await getFact(t, FACT));
  await putFact(t, FACT, JSON.stringify([...before, result].slice(-REPORTS)));
}

export async function dropPostponed(t: Transaction): Promise<void> {
  const [, ...left] = parsePostponed(await getFact(t, FACT));
  await putFact(t, FACT, JSON.stringify(left));
}

export function parsePostponed(text = '[]'): readonly string[] {
  return JSON.parse(text) as string[];
}
