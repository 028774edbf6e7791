/** HTTP proxies: which server is reached through one, and the tunnel to it (CONNECT). */
import type { Duplex } from 'node:stream';

import { OtaError } from '../errors.ts';

/** @returns the proxy for a server, or `undefined` where it is reached directly */
export type ProxyFor = (host: string, port: number) => URL | undefined;

/** Code of the error for a proxy that opens no tunnel. */
export const NO_TUNNEL = 'ERR_NO_TUNNEL';

class NoTunnel extends Error {
  readonly code = NO_TUNNEL;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * @param setting - `gateway.proxy`: for every server; otherwise the environment decides, as for curl
 * @throws OtaError USAGE if the environment names no URL of a proxy
 */
export function proxyRules(setting: string | undefined, env: Environment): ProxyFor {
  if (setting === 'direct') return () => undefined;
  if (setting !== undefined) {
    const proxy = new URL(setting);
    return () => proxy;
  }
  const named = env['https_proxy'] ?? env['HTTPS_PROXY'] ?? '';
  if (named === '') return () => undefined;
  if (!/^https?:\/\//u.test(named) || !URL.canParse(named)) {
    const remedy = 'set it to http://HOST:PORT, or set gateway.proxy';
    throw new OtaError('USAGE', { what: 'HTTPS_PROXY is no URL of an HTTP proxy', remedy });
  }
  const proxy = new URL(named);
  const exceptions = (env['no_proxy'] ?? env['NO_PROXY'] ?? '').split(/[\s,]+/u);
  return (host, port) =>
    exceptions.some((one) => isExcepted(one.toLowerCase(), host.toLowerCase(), port))
      ? undefined
      : proxy;
}

/** `*`, a name, a domain with or without its dot, or one of those with a port. */
function isExcepted(exception: string, host: string, port: number): boolean {
  if (exception === '*') return true;
  const [, name = '', only] = /^(.*?)(?::(\d+))?$/u.exec(exception) ?? [];
  const domain = name.replace(/^\*?\./u, '');
  if (domain === '' || (only !== undefined && Number(only) !== port)) return false;
  return host === domain || host.endsWith(`.${domain}`);
}

/**
 * A connection to a server through a proxy, which sees its name and nothing of what is said.
 *
 * Source: RFC 9110 §9.3.6.
 */
export async function openTunnel(proxy: URL, server: string, timeoutMs: number): Promise<Duplex> {
  const { Client } = (await import('undici')).default;
  const client = new Client(proxy.origin, {
    connectTimeout: timeoutMs,
    headersTimeout: timeoutMs,
  });
  try {
    const { statusCode, socket } = await client.connect({
      path: server,
      headers: { host: server, ...credentials(proxy) },
    });
    if (statusCode === 200) return socket;
    socket.destroy();
    throw new NoTunnel(`the proxy ${proxy.host} answers ${String(statusCode)}`);
  } catch (error) {
    if (error instanceof NoTunnel) throw error;
    const cause = error instanceof Error ? error.message : String(error);
    throw new NoTunnel(`the proxy ${proxy.host}: ${cause}`, { cause: error });
  } finally {
    client.close().catch(() => undefined);
  }
}

function credentials({ username, password }: URL): Readonly<Record<string, string>> {
  if (username === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}
