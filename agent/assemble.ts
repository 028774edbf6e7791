/** Puts the agent together from its settings: which adapter stands behind which port. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { IdentityUpkeep } from '../provisioning/upkeep.ts';
import { findSecretsKey } from '../provisioning/secrets-key.ts';
import { choiceOf, parseRecord } from '../provisioning/rotation-record.ts';
import type { LoadedSettings } from './config-problem.ts';
import { requireInstaller, type InstallerSettings } from './config-installer.ts';
import { requireGateway, type GatewayUrls } from './config-rules.ts';
import { demandOwnToken, type SealingPorts } from './cycle/seal.ts';
import { causeOf, OtaError } from './errors.ts';
import { openBoot } from './io/boot.ts';
import { openClock } from './io/clock.ts';
import {
  decrypting,
  sweepDecrypted,
  type Decryption,
} from './io/encrypted/decrypting-installer.ts';
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
import { followCrls } from './io/crl-files.ts';
import { gatewayRequest, type Ask } from './io/gateway-request.ts';
import { gatewayPolicy, gatewayTrust, identitySettings } from './io/gateway-trust.ts';
import { HttpTimeServer, loadTimeKeys } from './io/time-server.ts';
import { HttpTreehub } from './io/treehub.ts';
import { protectionOf, TokenAnchor } from './io/token/anchor.ts';
import { loadIdentity, type Identity } from './io/token/identity.ts';
import { LiveIdentity } from './io/token/live-identity.ts';
import { probeModule } from './io/token/probe-module.ts';
import { openToken, type Token } from './io/token/token.ts';
import type { Clock, LocalPorts, Ports } from './ports.ts';
import type { Settings } from './settings.ts';
import { UPTANE, withLimits } from './uptane/format.ts';
import { loadFormat } from './uptane/load-format.ts';
import { openUpkeep } from './upkeep.ts';
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
  readonly upkeep: IdentityUpkeep;
  /** Asks whoever sends secrets to this device, where somebody does. */
  readonly askSecrets: Ask | undefined;
}

/** What is remembered, to look at. */
export interface Storage {
  readonly store: SqliteStore;
  /** @throws OtaError STORAGE_CORRUPT if not all of it is as it was written */
  check(): Promise<void>;
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
  return {
    store: new SqliteStore(database),
    check: () => database.check(),
    close: () => database.close(),
  };
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
  const installer = requireInstaller(loaded);
  const local = await assembleLocal(loaded, log);
  let sealing: Sealing | undefined;
  try {
    await demandProvisioned(local.store);
    await probeModule(settings.token);
    const { clock } = local.ports;
    const trust = await gatewayTrust(settings, process.env);
    // Before the identity: that of another token is not this device's, and may be none at all.
    const opened = await openSealing(settings, local, log);
    sealing = opened;
    await demandOwnToken(opened.ports);
    const choice = choiceOf(parseRecord(await local.store.fact('rotation')));
    const chosen = { ...identitySettings(settings), choice };
    const identity = loadIdentity(chosen, trust, clock.now(), process.env);
    for (const warning of identity.warnings) log.warn(warning);
    const live = new LiveIdentity(identity);
    const http = openHttp(settings, () => live.current, clock);
    const { minimum_rate: bytesPerSecond, minimum_rate_window: windowMs } = settings.download;
    const rate = { bytesPerSecond, windowMs };
    const ports: Ports = {
      ...local.ports,
      ...(await openTimeServer(settings, http, rate)),
      repositories: new HttpRepositories(http, urls, rate),
      director: new HttpDirector(http, urls),
      signer: live.signer,
      vehicleId: identity.deviceId,
      ...opened.ports,
      // Last: the ports of the seal hold the local ones.
      ...downloading(installer, http, rate),
    };
    const decryption = await openDecryption(settings, live);
    const { store } = local;
    const open = (one: Identity): HttpClient => openHttp(settings, () => one, clock);
    const parts = { settings, urls, ports, store, live, http, trust, log };
    const upkeep = openUpkeep({ ...parts, openHttp: open });
    return {
      ports: { ...ports, upkeep, installer: decrypting(ports.installer, decryption) },
      store,
      identity,
      upkeep,
      askSecrets: askSecrets(http, urls),
      close: async () => {
        await http.close();
        live.close();
        opened.close();
        await local.close();
      },
    };
  } catch (error) {
    sealing?.close();
    await local.close();
    throw error;
  }
}

/** What a killed agent left in the clear is removed first: nobody else works here now. */
async function openDecryption(
  { download, storage }: Settings,
  live: LiveIdentity,
): Promise<Decryption> {
  const directory = join(storage.path, 'decrypted');
  await sweepDecrypted(directory);
  return {
    deviceId: live.current.deviceId,
    key: () => findSecretsKey(live.current.token),
    directory,
    reserveBytes: download.reserve,
  };
}

const SECRETS_BYTES = 1024 * 1024;

function askSecrets(http: HttpClient, { secrets }: GatewayUrls): Ask | undefined {
  if (secrets === undefined) return undefined;
  return gatewayRequest(http, { '/secrets': secrets }, SECRETS_BYTES);
}

/** What seals the state of this device in its token. */
export interface Sealing {
  readonly ports: SealingPorts;
  /** What the seal is worth in this token, for people. */
  readonly meaning: string;
  close(): void;
}

/**
 * Opens the token as far as sealing needs it; without, where `token.anchor` is off.
 *
 * @throws OtaError TOKEN_*
 */
export async function openSealing(
  settings: Settings,
  { ports, store }: LocalAgent,
  log: Log,
): Promise<Sealing> {
  const limits = {
    rootBytes: settings.uptane.max_root_metadata,
    imageTargetsBytes: settings.uptane.max_image_metadata,
  };
  const directorFormat = withLimits(UPTANE, limits);
  const imageFormat = withLimits(await loadFormat(settings.uptane.dialect), limits);
  const unsealed = { ...ports, directorFormat, imageFormat };
  if (settings.token.anchor === 'off') {
    return { ports: unsealed, meaning: 'off', close: () => undefined };
  }
  const token = openToken(settings.token, 'read-only', process.env);
  const meaning = await sayProtection(token, store, log);
  const anchor = new TokenAnchor(token);
  return {
    ports: { ...unsealed, anchor },
    meaning,
    close: () => {
      token.close();
    },
  };
}

/** Once, and again when it changed. */
async function sayProtection(token: Token, store: SqliteStore, log: Log): Promise<string> {
  const { protection, meaning } = protectionOf(token);
  const words = `the seal is ${protection}: ${meaning}`;
  if ((await store.fact('anchor_protection')) !== protection) {
    await store.saveFact('anchor_protection', protection);
    log.info(words);
  }
  return words;
}

/** What a commit is made of is downloaded by its installer. */
function downloading(
  chosen: InstallerSettings,
  http: HttpClient,
  rate: MinimumRate,
): Pick<Ports, 'installer'> | undefined {
  if (chosen.type !== 'ostree') return undefined;
  return { installer: openInstaller(chosen, new HttpTreehub(http, chosen.url, rate)) };
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
  identity: () => Pick<Identity, 'secureContext' | 'contextFor' | 'trust'>,
  clock: Pick<Clock, 'now'>,
): HttpClient {
  const { crl, timeout } = settings.gateway;
  return new HttpClient({
    secureContext: followCrls(crl, identity),
    timeoutMs: timeout,
    userAgent: `ota-agent/${VERSION}`,
    policy: gatewayPolicy(identity().trust, clock),
  });
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
