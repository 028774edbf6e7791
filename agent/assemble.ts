/** Puts the agent together from its settings: which adapter stands behind which port. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { LoadedSettings } from './config-problem.ts';
import { requireInstaller, type InstallerSettings } from './config-installer.ts';
import { requireGateway } from './config-rules.ts';
import { causeOf, OtaError } from './errors.ts';
import { openBoot } from './io/boot.ts';
import { openClock } from './io/clock.ts';
import { HttpClient } from './io/http.ts';
import { openInstaller } from './io/installers/open-installer.ts';
import type { MinimumRate } from './io/limit-bytes.ts';
import type { Log } from './io/log.ts';
import { HttpDirector, HttpRepositories } from './io/repositories.ts';
import { StagingDirectory } from './io/staging.ts';
import { Database } from './io/store/database.ts';
import { takeLock } from './io/store/lock.ts';
import { SqliteStore } from './io/store/store.ts';
import { openReporter } from './io/terminal.ts';
import { readTextFile } from './io/text-file.ts';
import { HttpTimeServer, loadTimeKeys } from './io/time-server.ts';
import { loadIdentity, type Identity } from './io/token/identity.ts';
import type { LocalPorts, Ports } from './ports.ts';
import type { Settings } from './settings.ts';
import { UPTANE, withLimits } from './uptane/format.ts';
import { loadFormat } from './uptane/load-format.ts';
import { VERSION } from './version.ts';

const DATABASE = 'ota-agent.db';

export interface LocalAgent {
  readonly ports: LocalPorts;
  readonly store: SqliteStore;
  close(): Promise<void>;
}

export interface Agent extends LocalAgent {
  readonly ports: Ports;
  readonly identity: Identity;
}

/** What is remembered, to look at. */
export interface Storage {
  readonly store: SqliteStore;
  close(): Promise<void>;
}

/**
 * Storage alone, beside whoever works on it; nothing is made, locked or changed.
 *
 * @throws OtaError NOT_PROVISIONED if there is none; STORAGE_CORRUPT, STORAGE_FAILED
 */
export async function openStorage({ storage }: Settings): Promise<Storage> {
  const path = join(storage.path, DATABASE);
  if (!existsSync(path)) {
    throw new OtaError('NOT_PROVISIONED', { missing: path, remedy: 'run ota-agent provision' });
  }
  const database = await Database.openExisting(path);
  return { store: new SqliteStore(database), close: () => database.close() };
}

/**
 * Everything but network and token.
 *
 * @throws OtaError STORAGE_BUSY, STORAGE_CORRUPT, STORAGE_FAILED, FILE_UNREADABLE
 */
export async function assembleLocal(loaded: LoadedSettings, log: Log): Promise<LocalAgent> {
  const { path } = loaded.settings.storage;
  const installer = requireInstaller(loaded);
  await makeStorage(path);
  const lock = await takeLock(path);
  try {
    const database = await Database.open(join(path, DATABASE));
    const store = new SqliteStore(database);
    return {
      ports: await localPorts(loaded.settings, installer, store, log),
      store,
      close: async () => {
        await database.close();
        await lock.release();
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/**
 * The whole agent, with its identity from the token and its way to the gateway.
 *
 * @throws OtaError NOT_PROVISIONED, TOKEN_* and what `assembleLocal` throws
 */
export async function assemble(loaded: LoadedSettings, log: Log): Promise<Agent> {
  const { settings } = loaded;
  const urls = requireGateway(loaded);
  const local = await assembleLocal(loaded, log);
  try {
    await demandProvisioned(local.store);
    const ca = await gatewayCa(settings);
    const parts = { ...settings.token, ...settings.identity };
    const identity = loadIdentity(parts, ca, local.ports.clock.now(), process.env);
    for (const warning of identity.warnings) log.warn(warning);
    const http = openHttp(settings, identity);
    const { minimum_rate: bytesPerSecond, minimum_rate_window: windowMs } = settings.download;
    const limits = {
      rootBytes: settings.uptane.max_root_metadata,
      imageTargetsBytes: settings.uptane.max_image_metadata,
    };
    const rate = { bytesPerSecond, windowMs };
    return {
      ports: {
        ...local.ports,
        ...(await openTimeServer(settings, http, rate)),
        repositories: new HttpRepositories(http, urls, rate),
        director: new HttpDirector(http, urls),
        signer: identity.signer,
        vehicleId: identity.deviceId,
        directorFormat: withLimits(UPTANE, limits),
        imageFormat: withLimits(await loadFormat(settings.uptane.dialect), limits),
      },
      store: local.store,
      identity,
      close: async () => {
        await http.close();
        identity.token.close();
        await local.close();
      },
    };
  } catch (error) {
    await local.close();
    throw error;
  }
}

async function openTimeServer(
  { uptane }: Settings,
  http: HttpClient,
  rate: MinimumRate,
): Promise<Pick<Ports, 'timeServer'>> {
  const { time_url: url, time_keys: keys } = uptane;
  if (url === undefined || keys === undefined) return {};
  return { timeServer: new HttpTimeServer(http, url, await loadTimeKeys(keys), rate) };
}

/** HTTP with the identity of this device. */
export function openHttp(
  settings: Settings,
  identity: Pick<Identity, 'secureContext'>,
): HttpClient {
  return new HttpClient({
    secureContext: identity.secureContext,
    timeoutMs: settings.gateway.timeout,
    userAgent: `ota-agent/${VERSION}`,
  });
}

/** PEM of the CAs that may vouch for the gateway; `undefined`: those of the system. */
async function gatewayCa({ gateway }: Settings): Promise<string | undefined> {
  if (gateway.ca === undefined) return undefined;
  const remedy = 'set gateway.ca to the PEM file of the CA that signed the gateway';
  return readTextFile(gateway.ca, 'the CA of the gateway', remedy);
}

async function localPorts(
  { boot, download, installer, storage }: Settings,
  chosen: InstallerSettings,
  store: SqliteStore,
  log: Log,
): Promise<LocalPorts> {
  return {
    store,
    staging: new StagingDirectory(join(storage.path, 'staging'), download.reserve),
    installer: openInstaller(chosen),
    boot: await openBoot(boot.boot_id_file, installer.reboot_command),
    clock: openClock(await store.latestKnownTime()),
    reporter: await openReporter(log, process.stderr),
    limits: { downloadAttempts: download.attempts },
  };
}

async function demandProvisioned(store: SqliteStore): Promise<void> {
  const remedy = 'run ota-agent provision';
  if ((await store.inventory()).length === 0) {
    throw new OtaError('NOT_PROVISIONED', { missing: 'ECU registration', remedy });
  }
  const trusted = await store.loadTrusted();
  for (const repo of ['director', 'image'] as const) {
    if (!trusted.has(`${repo}/root`)) {
      throw new OtaError('NOT_PROVISIONED', { missing: `root metadata of ${repo}`, remedy });
    }
  }
}

/** Readable by the agent alone: it holds what the device trusts. */
async function makeStorage(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    const remedy = 'create it for the agent’s user, or set storage.path';
    throw new OtaError('STORAGE_FAILED', { path, cause: causeOf(error), remedy }, { cause: error });
  }
}
