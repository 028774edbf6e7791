import { createHash } from 'node:crypto';

import sqlite3 from 'sqlite3';

/** Every trusted file in a device's storage, name to digest, read from outside the agent. */
export function trustedState(storage: string): Promise<Record<string, string>> {
  return new Promise((resolve, reject) => {
    const database = new sqlite3.Database(`${storage}/ota-agent.db`, sqlite3.OPEN_READONLY);
    database.all<{ name: string; content: string }>(
      'SELECT name, hex(bytes) AS content FROM metadata ORDER BY name',
      (error, rows) => {
        database.close();
        if (error === null) {
          const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
          resolve(Object.fromEntries(rows.map((row) => [row.name, digest(row.content)])));
        } else reject(error);
      },
    );
  });
}
