/** One row per fact, within a transaction. */
import type { Transaction } from './database.ts';

export async function getFact(t: Transaction, name: string): Promise<string | undefined> {
  const [row] = await t.all('SELECT value FROM fact WHERE name = ?', name);
  return row === undefined ? undefined : String(row['value']);
}

export function putFact(t: Transaction, name: string, value: string): Promise<void> {
  return t.run('INSERT OR REPLACE INTO fact VALUES (?, ?)', name, value);
}
