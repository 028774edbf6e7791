/** The way to the gateway, step by step, so that the first one that fails names itself. */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, isIP } from 'node:net';
import { createSecureContext } from 'node:tls';

import { requireGateway } from '../../config-rules.ts';
import { causeOf, OtaError, type Repo } from '../../errors.ts';
import { gatewayPolicy, gatewayTrust } from '../../io/gateway-trust.ts';
import { parseHttpDate } from '../../io/http-date.ts';
import { proxyRules } from '../../io/http-proxy.ts';
import { HttpClient } from '../../io/http.ts';
import { contextOptions } from '../../io/tls.ts';
import { HttpRepositories } from '../../io/repositories.ts';
import { formatInstant, type Instant } from '../../uptane/time.ts';
import { VERSION } from '../../version.ts';
import { notHere, ok, warn, type Check, type Examination, type Finding } from './check.ts';

/** Below the time that one check has. */
const STEP_MS = 8000;
/** What certificates, logs and people forgive. */
const APART_MS = 5 * 60_000;
const ROOT = '1.root.json';

export const GATEWAY_CHECKS: readonly Check[] = [
  {
    name: 'gateway-trust',
    needs: ['configuration'],
    code: 'FILE_UNREADABLE',
    examine: examineTrust,
  },
  {
    name: 'gateway-name',
    needs: ['configuration'],
    code: 'GATEWAY_UNREACHABLE',
    examine: examineNames,
  },
  {
    name: 'gateway-port',
    needs: ['gateway-name'],
    code: 'GATEWAY_UNREACHABLE',
    examine: examinePorts,
  },
  {
    name: 'gateway-tls',
    needs: ['gateway-port', 'gateway-trust', 'tls-backend'],
    code: 'GATEWAY_TLS',
    examine: examineTls,
  },
  {
    name: 'director',
    needs: ['gateway-tls'],
    code: 'GATEWAY_ANSWER',
    examine: (examination) => examineRepository(examination, 'director'),
  },
  {
    name: 'image-repository',
    needs: ['gateway-tls'],
    code: 'GATEWAY_ANSWER',
    examine: (examination) => examineRepository(examination, 'image'),
  },
  { name: 'gateway-time', needs: ['gateway-tls'], code: 'GATEWAY_ANSWER', examine: examineTime },
];

async function examineTrust(examination: Examination): Promise<Finding> {
  const { settings } = examination.get('loaded');
  const { ca, pins, crl, ocsp, tls_min: oldest } = settings.gateway;
  const trust = await gatewayTrust(settings, examination.env);
  try {
    createSecureContext(contextOptions(trust));
  } catch (cause) {
    const remedy = 'set gateway.ca to the PEM file of the CA that signed the gateway';
    const details = {
      path: ca ?? '',
      what: 'the CA of the gateway',
      cause: causeOf(cause),
      remedy,
    };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
  examination.note('trust', trust);
  const parts = [
    ca === undefined ? 'CAs of the system' : `CAs in ${ca}`,
    `TLS ${oldest} or later`,
    ...(pins.length > 0 ? [`${String(pins.length)} pins`] : []),
    ...(crl.length > 0 ? [`${String(crl.length)} lists of revoked certificates`] : []),
    ...(ocsp === 'stapled' ? ['stapled OCSP'] : []),
  ];
  if (pins.length !== 1) return ok(parts.join(', '));
  const remedy =
    'pin the key that comes next, too: the day the first is replaced, devices are cut off';
  return warn(`${parts.join(', ')}: a single one`, remedy);
}

function servers(examination: Examination): readonly URL[] {
  const loaded = examination.get('loaded');
  const { director, image } = requireGateway(loaded);
  const proxyFor = proxyRules(loaded.settings.gateway.proxy, process.env);
  // Behind a proxy it is the proxy that has to be reached.
  const urls = [director, image].map((text) => {
    const url = new URL(text);
    return proxyFor(url.hostname, portOf(url)) ?? url;
  });
  return urls.filter(({ host }, index) => urls.findIndex((url) => url.host === host) === index);
}

function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port);
  return protocol === 'http:' ? 80 : 443;
}

async function examineNames(examination: Examination): Promise<Finding> {
  const found: string[] = [];
  for (const { hostname, href } of servers(examination)) {
    if (isIP(bare(hostname)) !== 0) found.push(`${hostname} is an address`);
    else {
      const { address } = await attempt(href, 'the name does not resolve: check DNS', () =>
        lookup(hostname),
      );
      found.push(`${hostname} is ${address}`);
    }
  }
  return ok(found.join(', '));
}

async function examinePorts(examination: Examination): Promise<Finding> {
  const found: string[] = [];
  for (const url of servers(examination)) {
    const { hostname, href } = url;
    const number = portOf(url);
    const remedy = 'nothing answers there: check gateway.url, the network and firewalls between';
    await attempt(href, remedy, async () => {
      const socket = connect({ host: bare(hostname), port: number });
      try {
        await once(socket, 'connect', { signal: AbortSignal.timeout(STEP_MS) });
      } finally {
        socket.destroy();
      }
    });
    found.push(`${hostname}:${String(number)}`);
  }
  return ok(`connected to ${found.join(', ')}`);
}

/** One whole request: in TLS 1.3 a certificate is refused after the handshake. */
async function examineTls(examination: Examination): Promise<Finding> {
  const { director } = requireGateway(examination.get('loaded'));
  const clock = examination.get('clock');
  const trust = examination.get('trust');
  const http = new HttpClient({
    secureContext: examination.get('contextFor')(trust),
    timeoutMs: Math.min(STEP_MS, examination.get('loaded').settings.gateway.timeout),
    userAgent: `ota-agent/${VERSION}`,
    policy: gatewayPolicy(trust, clock),
    proxyFor: proxyRules(examination.get('loaded').settings.gateway.proxy, process.env),
  });
  examination.note('http', http);
  const response = await http.send({ method: 'GET', url: `${director}/${ROOT}` });
  await response.discard();
  examination.note('gatewayDate', parseHttpDate(response.headers['date']));
  return ok(`${http.protocol ?? ''}, and it accepts our certificate`);
}

async function examineRepository(examination: Examination, repo: Repo): Promise<Finding> {
  const { settings } = examination.get('loaded');
  const urls = requireGateway(examination.get('loaded'));
  const { minimum_rate: bytesPerSecond, minimum_rate_window: windowMs } = settings.download;
  const repositories = new HttpRepositories(examination.get('http'), urls, {
    bytesPerSecond,
    windowMs,
  });
  const bytes = await repositories.fetchMetadata(repo, ROOT, settings.uptane.max_root_metadata);
  if (bytes === undefined) throw new OtaError('METADATA_MISSING', { repo, file: ROOT });
  return ok(`${urls[repo]} serves ${ROOT}`);
}

function examineTime(examination: Examination): Finding {
  const date = examination.find('gatewayDate');
  if (date === undefined) return notHere('the gateway does not say what time it has');
  const ours = Date.now() as Instant;
  const apart = Math.abs(date - ours);
  const shows = `the gateway has ${formatInstant(date)}, this device ${formatInstant(ours)}`;
  if (apart <= APART_MS) return ok(shows);
  return warn(shows, 'set the clock of whichever is wrong: date -u --set');
}

async function attempt<T>(url: string, remedy: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    const details = { url, cause: causeOf(cause), remedy };
    throw new OtaError('GATEWAY_UNREACHABLE', details, { cause });
  }
}

/** An IPv6 address without its brackets. */
function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/gu, '');
}
