import sqlite3 from 'sqlite3';

/** Every trusted file in a device's storage, name to content, read from outside the agent. */
export function trustedState(storage: string): Promise<Record<string, string>> {
  return new Promise((resolve, reject) => {
    const database = new sqlite3.Database(`${storage}/ota-agent.db`, sqlite3.OPEN_READONLY);
    database.all<{ name: string; content: string }>(
      'SELECT name, hex(bytes) AS content FROM metadata ORDER BY name',
      (error, rows) => {
        database.close();
        if (error === null) {
          resolve(Object.fromEntries(rows.map(({ name, content }) => [name, content])));
        } else reject(error);
      },
    );
  });
}
