/** `ota-agent installer`: the privileged half, started by systemd for each connection of the agent. */
import { mkdir, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { missing } from '../config-problem.ts';
import { readSeparation, type Separation } from '../config-separation.ts';
import { isOtaError, OtaError } from '../errors.ts';
import { openInstallers } from '../installers.ts';
import { openBoot } from '../io/boot.ts';
import { openClock } from '../io/clock.ts';
import { failureMessage, Wire } from '../io/installers/separate/wire.ts';
import { handedSocket } from '../io/listen-fds.ts';
import { StagingDirectory } from '../io/staging.ts';
import { Database } from '../io/store/database.ts';
import { takeLock, type Lock } from '../io/store/lock.ts';
import { SqliteStore } from '../io/store/store.ts';
import { UPTANE, withLimits } from '../uptane/format.ts';
import { loadFormat } from '../uptane/load-format.ts';
import type { CommandContext } from './context.ts';
import { serveSteps, type Parts } from './installer/serve.ts';
import { Verdicts } from './installer/verdicts.ts';
import type { CommandResult } from './result.ts';

const DATABASE = 'installer.db';

/**
 * Serves one connection.
 *
 * Node.js cannot ask a socket who is at its other end. systemd can, and puts it into the name of the
 * instance that it starts for a connection: NUMBER-PID-UID (systemd.socket(5), `Accept=`).
 */
export async function installerCommand(context: CommandContext): Promise<CommandResult> {
  const { loaded, rest, log } = context;
  const separation = readSeparation(loaded);
  if (separation === undefined) {
    throw missing(loaded, 'separation.installer', 'without it the agent installs by itself');
  }
  const wire = new Wire(new Socket({ fd: connection(), readable: true, writable: true }));
  try {
    await demandPeer(peerIn(rest), loaded.settings.storage.path);
    const lock = await ownStorage(separation);
    try {
      await serveLocked(wire, context, separation);
    } finally {
      lock.release();
    }
  } catch (error) {
    if (!isOtaError(error)) throw error;
    log.error(error.message);
    await wire.send(failureMessage(error)).catch(() => undefined);
  } finally {
    wire.close();
  }
  return { exit: 0, json: { outcome: 'closed' }, lines: [] };
}

async function serveLocked(
  wire: Wire,
  context: CommandContext,
  separation: Separation,
): Promise<void> {
  const database = await Database.open(join(separation.storage, DATABASE));
  try {
    // An agent that went away in the middle of a step begins it again, and waits for this process to end.
    void wire.hungUp().then(() => {
      process.exit(0);
    });
    await serveSteps(wire, await partsOf(context, separation, new SqliteStore(database)));
  } finally {
    await database.close();
  }
}

async function partsOf(
  { loaded }: CommandContext,
  separation: Separation,
  store: SqliteStore,
): Promise<Parts> {
  const { boot, device, download, installer, uptane } = loaded.settings;
  // Records of slots have to be where the agent cannot write.
  const settings = { ...loaded.settings, storage: { path: separation.storage } };
  const limits = {
    rootBytes: uptane.max_root_metadata,
    imageTargetsBytes: uptane.max_image_metadata,
  };
  const formats = {
    director: withLimits(UPTANE, limits),
    image: withLimits(await loadFormat(uptane.dialect), limits),
  };
  const clock = openClock(await store.latestKnownTime());
  const staging = new StagingDirectory(join(separation.storage, 'staging'), download.reserve);
  return {
    verdicts: new Verdicts(store, clock, { separation, formats, vehicleId: device.id }),
    installers: await openInstallers({ ...loaded, settings }, separation.ecus[0]?.serial, {
      link: undefined,
    }),
    staging,
    boot: await openBoot(boot.boot_id_file, installer.reboot_command),
  };
}

function connection(): number {
  const fd = handedSocket(process.env);
  if (fd !== undefined) return fd;
  const what = 'no connection was handed over';
  const remedy = 'systemd starts it: systemctl enable --now ota-agent-installer.socket';
  throw new OtaError('USAGE', { what, remedy });
}

function peerIn(rest: readonly string[]): number {
  const [option, instance = '', ...more] = rest;
  const [, uid] = /^\d+-.*-(\d+)$/u.exec(instance) ?? [];
  if (option === '--peer' && uid !== undefined && more.length === 0) return Number(uid);
  const what = `nobody knows who asks: ${rest.join(' ')}`;
  throw new OtaError('USAGE', {
    what,
    remedy: '--peer %i, in a unit for a socket with Accept=yes',
  });
}

/** Root, and whoever the agent's state belongs to. */
async function demandPeer(uid: number, agentStorage: string): Promise<void> {
  const owner = await stat(agentStorage).catch(() => undefined);
  if (uid === 0 || uid === owner?.uid) return;
  const what = `user ${String(uid)} may not install`;
  throw new OtaError('USAGE', { what, remedy: `only root and the owner of ${agentStorage} may` });
}

const BUSY_MS = 200;
const LONGEST_BUSY_MS = 60_000;

/** What an agent that was killed has begun goes on until it notices: the next one waits for it. */
async function ownStorage({ storage }: Separation): Promise<Lock> {
  await mkdir(storage, { recursive: true, mode: 0o700 });
  for (let waited = 0; ; waited += BUSY_MS) {
    try {
      return takeLock(storage);
    } catch (error) {
      const isBusy = isOtaError(error) && error.code === 'STORAGE_BUSY';
      if (!isBusy || waited > LONGEST_BUSY_MS) throw error;
    }
    await sleep(BUSY_MS);
  }
}
