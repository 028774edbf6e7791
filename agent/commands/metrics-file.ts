/** Metrics as a file, for the textfile collector of Prometheus' node_exporter. */
import { open, rename, rm } from 'node:fs/promises';

import { causeOf } from '../errors.ts';
import { metricsText, type Readings } from '../io/api/metrics.ts';
import type { Log } from '../io/log.ts';
import { VERSION } from '../version.ts';

/** Whoever collects is another user. */
const MODE = 0o644;

/**
 * Without the metrics of a process: the collector has its own by these names, and refuses a second one.
 *
 * @param path - ends in `.prom`; `undefined` where no file is wanted
 * @returns replaces the file, one call after the other. Never rejects: what cannot be written is logged
 */
export function metricsFile(
  path: string | undefined,
  readings: () => Promise<Readings>,
  log: Log,
): () => Promise<void> {
  if (path === undefined) return () => Promise.resolve();
  let turn = Promise.resolve();
  return () => {
    turn = turn.then(async () => {
      try {
        await replace(path, metricsText(VERSION, await readings()));
      } catch (error) {
        log.warn('metrics.textfile cannot be written', { path, cause: causeOf(error) });
      }
    });
    return turn;
  };
}

/** Without syncing: after a power cut there is nothing that it could tell. */
async function replace(path: string, text: string): Promise<void> {
  // The collector reads what ends in `.prom`, and so never a half.
  const temporary = `${path}.new`;
  // /run/ota-agent is its group's, too: a link there would have us write over a file of our own.
  await rm(temporary, { force: true });
  const file = await open(temporary, 'wx');
  try {
    await file.writeFile(text);
    await file.chmod(MODE);
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}
