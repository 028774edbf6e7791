/** Metrics as a file, for the textfile collector of Prometheus' node_exporter. */
import { chmod, rename, writeFile } from 'node:fs/promises';

import { causeOf } from '../errors.ts';
import type { Log } from '../io/log.ts';

/** Whoever collects is another user. */
const MODE = 0o644;
/** The collector has metrics of its own process by these names, and refuses a second one. */
const OF_PROCESS = /^((?:# (?:HELP|TYPE) )?)process_/gmu;

/**
 * @param path - ends in `.prom`; `undefined` where no file is wanted
 * @param metrics - in the text format of Prometheus
 * @returns replaces the file, one call after the other. Never rejects: what cannot be written is logged
 */
export function metricsFile(
  path: string | undefined,
  metrics: () => Promise<string>,
  log: Log,
): () => Promise<void> {
  if (path === undefined) return () => Promise.resolve();
  let turn = Promise.resolve();
  return () => {
    turn = turn.then(async () => {
      try {
        await replace(path, (await metrics()).replace(OF_PROCESS, '$1ota_agent_process_'));
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
  await writeFile(temporary, text);
  await chmod(temporary, MODE);
  await rename(temporary, path);
}
