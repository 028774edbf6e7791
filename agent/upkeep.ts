/** Puts renewal and rotation together for a running agent. */
import { IdentityUpkeep, type UpkeepObserver } from '../provisioning/upkeep.ts';
import type { Means } from '../provisioning/rotate-means.ts';
import type { GatewayUrls } from './config-rules.ts';
import { offerManifest } from './cycle/report.ts';
import { OtaError } from './errors.ts';
import { gatewayRequest } from './io/gateway-request.ts';
import { identitySettings } from './io/gateway-trust.ts';
import type { HttpClient } from './io/http.ts';
import type { Log } from './io/log.ts';
import type { ServerTrust } from './io/tls.ts';
import { StoredRecord } from './io/store/provisioning-record.ts';
import type { SqliteStore } from './io/store/store.ts';
import { loadIdentity, type Identity } from './io/token/identity.ts';
import type { LiveIdentity } from './io/token/live-identity.ts';
import type { Ports } from './ports.ts';
import type { Settings } from './settings.ts';
import { VERSION } from './version.ts';
import { formatInstant } from './uptane/time.ts';

export interface UpkeepParts {
  readonly settings: Settings;
  readonly urls: GatewayUrls;
  readonly ports: Ports;
  readonly store: SqliteStore;
  readonly live: LiveIdentity;
  readonly http: HttpClient;
  readonly openHttp: (identity: Identity) => HttpClient;
  readonly trust: ServerTrust;
  readonly log: Log;
}

export function openUpkeep(parts: UpkeepParts): IdentityUpkeep {
  return new IdentityUpkeep(meansOf(parts), observerOf(parts));
}

function meansOf(parts: UpkeepParts): Means {
  const { settings, urls, ports, store, live, http, openHttp, trust } = parts;
  const bases = { '/director': urls.director, '/repo': urls.image };
  return {
    settings,
    record: new StoredRecord(store),
    env: process.env,
    userAgent: `ota-agent/${VERSION}`,
    now: () => ports.clock.now(),
    identity: () => live.current,
    load: (choice, caPem) => {
      const who = { ...identitySettings(settings), choice };
      const server = caPem === undefined ? trust : { caPem };
      return loadIdentity(who, server, ports.clock.now(), process.env);
    },
    adopt: async (identity) => {
      live.exchange(identity);
      await http.reconnect();
    },
    gateway: gatewayRequest(http, bases),
    gatewayAs: (identity) => {
      const own = openHttp(identity);
      return Object.assign(gatewayRequest(own, bases), { close: () => own.close() });
    },
    offerManifest: (signer) => offerManifest({ ...ports, signer }, undefined),
    ecus: async () => {
      const ecus = await store.inventory();
      if (ecus.length > 0) return ecus;
      const remedy = 'run ota-agent provision';
      throw new OtaError('NOT_PROVISIONED', { missing: 'ECU registration', remedy });
    },
  };
}

const NAMES = { certificate: 'device certificate', tls: 'TLS key', uptane: 'Uptane key' } as const;

function observerOf({ ports, log }: UpkeepParts): UpkeepObserver {
  return {
    step: (of, from, to) => {
      log.info(`rotation of the ${NAMES[of]}`, { from, to });
    },
    ended: async ({ of, outcome, endedAt, failure }) => {
      const success = outcome === 'rotated';
      const facts = { outcome, ...(failure === undefined ? {} : { code: failure.code }) };
      if (success) log.info(`${NAMES[of]} replaced`, facts);
      else log.warn(`${NAMES[of]} not replaced: the old one stays in use`, facts);
      await ports.store.queueEvent({
        id: ports.clock.uuid(),
        deviceTime: formatInstant(endedAt),
        eventType: { id: EVENTS[of], version: 0 },
        event: { success, ...(failure === undefined ? {} : { code: failure.code }) },
      });
    },
    waiting: (of, why) => {
      ports.reporter.refused(why);
      log.warn(`rotation of the ${NAMES[of]} waits`, { code: why.code });
    },
  };
}

/** Directors keep events of types that they do not know. */
const EVENTS = {
  certificate: 'DeviceCertificateRenewed',
  tls: 'DeviceTlsKeyRotated',
  uptane: 'EcuUptaneKeyRotated',
} as const;
