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
import type { Hired } from './serve-daemon.ts';
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
  if (left === undefined) await workFirst(config);
  else await serve(left.loaded, { link, stop, probed: Promise.resolve(), left });
}

/** A library that was tried for the first worker is not for the others: they may be lost, too. */
async function workFirst(config: readonly string[]): Promise<void> {
  const probe = startProbe();
  try {
    const loaded = await configure(config);
    const locked = link.tellAndWait({ say: 'configured', loaded });
    // What takes long to load is loaded while another process has something to do.
    const { probeModule } = await import('../../io/token/probe-module.ts');
    await locked;
    const probed = probeModule(loaded.settings.token, undefined, probe);
    probed.catch(() => undefined);
    await serve(loaded, { link, stop, probed, left: undefined });
  } finally {
    endProbe(probe);
  }
}

async function serve(loaded: LoadedSettings, hired: Hired): Promise<void> {
  const { serveDaemon } = await import('./serve-daemon.ts');
  await serveDaemon(loaded, hired);
}

/** The first worker does; what reads settings is not loaded by those after it. */
async function configure(config: readonly string[]): Promise<LoadedSettings> {
  const { loadSettings } = await import('../../config.ts');
  const { requireGateway } = await import('../../config-rules.ts');
  const { prepareStorage } = await import('../../storage-directory.ts');
  const loaded = await loadSettings({ config });
  requireGateway(loaded);
  await prepareStorage(loaded);
  return loaded;
}
