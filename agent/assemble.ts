/** Puts the agent together from its settings: which adapter stands behind which port. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import type { IdentityUpkeep } from '../provisioning/upkeep.ts';
import { choiceOf, parseRecord } from '../provisioning/rotation-record.ts';
import type { LoadedSettings } from './config-problem.ts';
import { requireComponents, type ComponentRules } from './config-installer.ts';
import { requireGateway, type GatewayUrls } from './config-rules.ts';
import { openBrake } from './cycle/brake.ts';
import { demandOwnToken } from './cycle/seal.ts';
import { openDecryption } from './decryption.ts';
import { OtaError } from './errors.ts';
import { openBoot } from './io/boot.ts';
import { openClock } from './io/clock.ts';
import { linkTo, openInstallers, rebootThrough } from './installers.ts';
import { decryptingInstallers } from './io/encrypted/decrypting-installer.ts';
import { openGate } from './io/gate.ts';
import { HttpClient } from './io/http.ts';
import type { LeftSessions } from './io/tls-tickets.ts';
import { proxyRules } from './io/http-proxy.ts';
import { openHealth } from './io/health.ts';
import type { MinimumRate } from './io/limit-bytes.ts';
import type { Log } from './io/log.ts';
import { openMedia } from './io/medium.ts';
import { HttpDirector, HttpRepositories } from './io/repositories.ts';
import { StagingDirectory } from './io/staging.ts';
import { Database } from './io/store/database.ts';
import { DATABASE, lockWork, takeLock } from './io/store/lock.ts';
import { SqliteStore } from './io/store/store.ts';
import { openReporter } from './io/terminal.ts';
import { followCrls } from './io/crl-files.ts';
import { gatewayRequest, type Ask } from './io/gateway-request.ts';
import { gatewayPolicy, gatewayTrust, identitySettings } from './io/gateway-trust.ts';
import { HttpTimeServer, loadTimeKeys } from './io/time-server.ts';
import { HttpTreehub, type Treehub } from './io/treehub.ts';
import { openTelemetry } from './telemetry.ts';
import { loadIdentity, type Identity } from './io/token/identity.ts';
import { LiveIdentity } from './io/token/live-identity.ts';
import { probeModule } from './io/token/probe-module.ts';
import type { Clock, LocalPorts, Ports } from './ports.ts';
import type { Settings } from './settings.ts';
import { openSealing, type Sealing } from './sealing.ts';
import { prepareStorage } from './storage-directory.ts';
import { openUpkeep } from './upkeep.ts';
import { VERSION } from './version.ts';

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
  /** What the next process can go on with. */
  readonly leaveSessions: () => LeftSessions | undefined;
}

/** What whoever started this process has seen to. */
export interface Given {
  /** `service`: nobody else answers for the storage; who works on it is locked here. */
  readonly lock?: 'none' | 'service';
  /** A process tries the PKCS#11 library: rejects where it may not be let in. */
  readonly probed?: Promise<void>;
  /** What the process before this one has left. */
  readonly sessions?: LeftSessions | undefined;
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
export async function assembleLocal(
  loaded: LoadedSettings,
  log: Log,
  { lock: has = 'none' }: Given = {},
): Promise<LocalAgent> {
  const { path } = loaded.settings.storage;
  await prepareStorage(loaded);
  const lock = has === 'service' ? lockWork(path) : takeLock(path);
  try {
    const database = await Database.open(join(path, DATABASE));
    const store = new SqliteStore(database);
    return {
      ports: await localPorts(loaded, store, log),
      store,
      close: async () => {
        await database.close();
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * The whole agent, with its identity from the token and its way to the gateway.
 *
 * @throws OtaError NOT_PROVISIONED, TOKEN_* and what `assembleLocal` throws
 */
export async function assemble(
  loaded: LoadedSettings,
  log: Log,
  given: Given = {},
): Promise<Agent> {
  const { settings } = loaded;
  const urls = requireGateway(loaded);
  const local = await assembleLocal(loaded, log, given);
  let sealing: Sealing | undefined;
  try {
    await demandProvisioned(local.store, requireComponents(loaded));
    await (given.probed ?? probeModule(settings.token));
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
    const http = openHttp(settings, () => live.current, clock, given.sessions);
    const ports: Ports = {
      ...local.ports,
      // Before the network's: the ports of the seal hold local installers, which cannot download.
      ...opened.ports,
      ...(await networkPorts(loaded, local, { http, urls, live })),
      signer: live.signer,
      vehicleId: identity.deviceId,
    };
    const { store } = local;
    const open = (one: Identity): HttpClient => openHttp(settings, () => one, clock);
    const parts = { settings, urls, ports, store, live, http, trust, log };
    const upkeep = openUpkeep({ ...parts, openHttp: open });
    return {
      ports: { ...ports, upkeep },
      store,
      identity,
      upkeep,
      askSecrets: askSecrets(http, urls),
      leaveSessions: () => http.leaveSessions(),
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

interface Network {
  readonly http: HttpClient;
  readonly urls: GatewayUrls;
  readonly live: LiveIdentity;
}

type Downloading = Pick<
  Ports,
  'repositories' | 'director' | 'telemetry' | 'timeServer' | 'installers'
>;

async function networkPorts(
  loaded: LoadedSettings,
  { ports: { reporter }, store }: LocalAgent,
  { http, urls, live }: Network,
): Promise<Downloading> {
  const { download } = loaded.settings;
  const rate = { bytesPerSecond: download.minimum_rate, windowMs: download.minimum_rate_window };
  const [primary] = await store.inventory();
  const treehubAt = (url: string): Treehub => new HttpTreehub(http, url, rate);
  const repositories = new HttpRepositories(http, urls, rate, {
    mirrors: download.mirrors,
    maxBytesPerSecond: download.max_rate,
    failing: (error) => {
      reporter.refused(error);
    },
  });
  return {
    ...(await openTimeServer(loaded.settings, http, rate)),
    repositories,
    director: new HttpDirector(http, urls),
    ...openTelemetry(loaded.settings, { http, urls, store }),
    installers: decryptingInstallers(
      await openInstallers(loaded, primary?.serial, {
        treehubAt,
        link: linkTo(loaded, store, repositories),
      }),
      await openDecryption(loaded.settings, live),
    ),
  };
}

const SECRETS_BYTES = 1024 * 1024;

function askSecrets(http: HttpClient, { secrets }: GatewayUrls): Ask | undefined {
  if (secrets === undefined) return undefined;
  return gatewayRequest(http, { '/secrets': secrets }, SECRETS_BYTES);
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
  identity: () => Pick<Identity, 'certificate' | 'secureContext' | 'contextFor' | 'trust'>,
  clock: Pick<Clock, 'now'>,
  sessions?: LeftSessions,
): HttpClient {
  const { crl, proxy, timeout } = settings.gateway;
  return new HttpClient({
    secureContext: followCrls(crl, identity),
    sessions,
    timeoutMs: timeout,
    userAgent: `ota-agent/${VERSION}`,
    policy: gatewayPolicy(identity().trust, clock),
    proxyFor: proxyRules(proxy, process.env),
  });
}

async function localPorts(
  loaded: LoadedSettings,
  store: SqliteStore,
  log: Log,
): Promise<LocalPorts> {
  const { boot, download, health, installer, storage } = loaded.settings;
  const [registered] = await store.inventory();
  const link = linkTo(loaded, store);
  return {
    store,
    staging: new StagingDirectory(join(storage.path, 'staging'), download.reserve),
    installers: await openInstallers(loaded, registered?.serial, { link }),
    health: openHealth({ ...health, timeoutMs: health.command_timeout }),
    brake: openBrake(),
    ...openGate(loaded.settings.update),
    // The installer verifies for itself, and is told of the gateway's metadata alone.
    ...(link === undefined ? { media: openMedia() } : {}),
    boot: rebootThrough(await openBoot(boot.boot_id_file, installer.reboot_command), link),
    clock: openClock(await store.latestKnownTime()),
    reporter: await openReporter(log, process.stderr),
    limits: {
      downloadAttempts: download.attempts,
      healthDeadlineMs: health.deadline,
      probeGateway: health.gateway,
      keepImages: download.keep,
    },
  };
}

async function demandProvisioned(
  store: SqliteStore,
  components: readonly ComponentRules[],
): Promise<void> {
  const remedy = 'run ota-agent provision';
  const [primary, ...others] = await store.inventory();
  if (primary === undefined) {
    throw new OtaError('NOT_PROVISIONED', { missing: 'ECU registration', remedy });
  }
  for (const { serial, hardwareId } of components) {
    if (others.some((ecu) => ecu.serial === serial && ecu.hardwareId === hardwareId)) continue;
    const missing = `registration of the component ${serial} (${hardwareId})`;
    throw new OtaError('NOT_PROVISIONED', { missing, remedy });
  }
  const trusted = await store.loadTrusted();
  for (const repo of ['director', 'image'] as const) {
    if (!trusted.has(`${repo}/root`)) {
      throw new OtaError('NOT_PROVISIONED', { missing: `root metadata of ${repo}`, remedy });
    }
  }
}
