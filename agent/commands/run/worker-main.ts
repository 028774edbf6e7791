/**
 * The process that works for the daemon: cycles, and whatever the API is asked that needs more than memory.
 *
 * It goes when nothing is left to do for a while, and with it all that it had to load. What it is told
 * comes from `worker.ts`.
 */
import type { LoadedSettings } from '../../config-problem.ts';
import { causeOf, isOtaError } from '../../errors.ts';
import { endProbe, startProbe } from '../../io/token/probe.ts';
import { Link } from './link.ts';
import type { Beginning } from './messages.ts';
import { stopSignal, WORK_GRACE_MS } from './stop-signal.ts';

const stop = stopSignal(WORK_GRACE_MS);
const link = new Link();
// Not awaited: in the bundle this is a script, and no module.
void main();

async function main(): Promise<void> {
  try {
    await work(await link.beginning);
  } catch (error) {
    if (isOtaError(error) && error.code !== 'BUG') {
      const { errorResult } = await import('../result.ts');
      link.tell({ say: 'failed', result: errorResult(error) });
    } else {
      process.stderr.write(`this is a bug in ota-agent: ${causeOf(error)}\n`);
      process.stderr.write(`${error instanceof Error ? (error.stack ?? '') : ''}\n`);
      process.exitCode = 1;
    }
  }
  link.close();
}

async function work({ config, left }: Beginning): Promise<void> {
  // A library that was tried for the first worker is not for the others: they may be lost, too.
  const probe = left === undefined ? startProbe() : undefined;
  try {
    const loaded = left?.loaded ?? (await configure(config));
    let probed = Promise.resolve();
    if (probe !== undefined) {
      // It has the library's binding, which takes as long to load as that process to start.
      const { probeModule } = await import('../../io/token/probe-module.ts');
      probed = probeModule(loaded.settings.token, undefined, probe);
      probed.catch(() => undefined);
    }
    // Large: loaded while the other process tries the library.
    const { serveDaemon } = await import('./serve-daemon.ts');
    await serveDaemon(loaded, { link, stop, probed, left });
  } finally {
    if (probe !== undefined) endProbe(probe);
  }
}

/** The first worker does; what reads settings is not loaded by those after it. */
async function configure(config: readonly string[]): Promise<LoadedSettings> {
  const { loadSettings } = await import('../../config.ts');
  const { requireGateway } = await import('../../config-rules.ts');
  const { prepareStorage } = await import('../../storage-directory.ts');
  const loaded = await loadSettings({ config });
  requireGateway(loaded);
  await prepareStorage(loaded);
  await link.tellAndWait({ say: 'configured', loaded });
  return loaded;
}
