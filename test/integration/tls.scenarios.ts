/** Handshakes with a key in a token, each in a process of its own: engines are per process. */
import { request } from 'node:https';
import { createSecureContext, type SecureContext } from 'node:tls';

import { HttpClient } from '../../agent/io/http.ts';
import { createIdentityContext } from '../../agent/io/tls.ts';
import { storeCertificate } from '../../agent/io/token/certificate.ts';
import { TLS_KEY, UPTANE_KEY } from '../../agent/io/token/cryptoki.ts';
import { loadIdentity } from '../../agent/io/token/identity.ts';
import { initialiseToken, initialiseUserPin } from '../../agent/io/token/initialise.ts';
import type { KeyType } from '../../agent/io/token/key-types.ts';
import { destroyKey, generateKey, inspectKey } from '../../agent/io/token/keys.ts';
import { openToken, type TokenSettings } from '../../agent/io/token/token.ts';
import { settingsSchema } from '../../agent/settings.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { certificateParts } from '../../provisioning/certificate.ts';
import { USER_PIN } from '../support/token-world.ts';

interface Args {
  readonly settings: TokenSettings;
}

export interface Connection extends Args {
  readonly port: number;
  readonly caPem: string;
  readonly certificatePem: string;
}

/** @returns the public TLS key, PEM */
export function prepare({
  settings,
  tlsKey,
  uptaneKey,
}: Args & { tlsKey: KeyType; uptaneKey: KeyType }): string {
  initialiseToken(settings, process.env);
  initialiseUserPin(settings, process.env);
  const token = openToken(settings, 'read-write', process.env);
  generateKey(token, UPTANE_KEY, uptaneKey);
  const { publicKey } = generateKey(token, TLS_KEY, tlsKey);
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
}

export function store({ settings, certificatePem }: Args & { certificatePem: string }): void {
  const token = openToken(settings, 'read-write', process.env);
  storeCertificate(token, certificateParts(certificatePem));
}

export function destroy({ settings, key }: Args & { key: 'tls' | 'uptane' }): void {
  const token = openToken(settings, 'read-write', process.env);
  destroyKey(token, key === 'tls' ? TLS_KEY : UPTANE_KEY);
}

/** @returns what the server said about us, for each of several connections */
export async function greet(args: Connection): Promise<string[]> {
  const { settings, certificatePem, caPem } = args;
  const token = openToken(settings, 'read-only', process.env);
  const credential = { key: TLS_KEY, certificatePem };
  const { context } = createIdentityContext(token, credential, { caPem }, 'auto');
  return [await get(args.port, context), await get(args.port, context)];
}

/** As a daemon polls a gateway that ends every connection. @returns what the server said each time */
export async function poll(args: Connection): Promise<string[]> {
  const { secureContext } = load(args);
  const http = new HttpClient({ secureContext, timeoutMs: 5000, userAgent: 'ota-agent/test' });
  const answers: string[] = [];
  for (let cycle = 0; cycle < 3; cycle += 1) {
    const url = `https://localhost:${String(args.port)}/`;
    const { body } = await http.send({ method: 'GET', url });
    const parts: Uint8Array[] = [];
    for await (const part of body) parts.push(part);
    answers.push(Buffer.concat(parts).toString());
  }
  await http.close();
  return answers;
}

/** Signing manifests and shaking hands take turns in one process. */
export async function greetAndSign(args: Connection): Promise<unknown[]> {
  const identity = load(args);
  const sign = async (): Promise<number> =>
    (await identity.signer.sign(Buffer.from('manifest'))).length;
  const { secureContext } = identity;
  return [
    await sign(),
    await get(args.port, secureContext),
    await sign(),
    await get(args.port, secureContext),
    await sign(),
    identity.deviceId,
  ];
}

/** The TLS engine initialises Cryptoki before the agent does. */
export async function engineFirst(args: Connection): Promise<unknown[]> {
  const { settings, caPem, certificatePem, port } = args;
  process.env['OPENSSL_ENGINES'] = `/usr/lib/${multiarch()}/engines-3`;
  process.env['PKCS11_MODULE_PATH'] = settings.module;
  const privateKeyIdentifier = `pkcs11:token=ota-agent;object=ota-agent-tls;type=private?pin-value=${USER_PIN}`;
  const engine = { privateKeyEngine: 'pkcs11', privateKeyIdentifier };
  const early = createSecureContext({ ca: caPem, cert: certificatePem, ...engine });
  const first = await get(port, early);
  const identity = load(args);
  return [
    first,
    (await identity.signer.sign(Buffer.from('manifest'))).length,
    await get(port, identity.secureContext),
    await get(port, early),
  ];
}

/** The agent's session ends; the handshakes do not need it. */
export async function greetAfterClose(args: Connection): Promise<unknown[]> {
  const identity = load(args);
  identity.token.close();
  const greeting = await get(args.port, identity.secureContext);
  return [greeting, inspectKey(identity.token, TLS_KEY).is];
}

export function loadOnly(args: Connection & { now?: number }): string {
  return load(args, args.now).deviceId;
}

function load(
  { settings, caPem }: Connection,
  now: number = Date.now(),
): ReturnType<typeof loadIdentity> {
  const { identity } = settingsSchema.parse({});
  const complete = { ...identity, ...settings, tls_backend: 'auto' } as const;
  return loadIdentity(complete, { caPem }, now as Instant, process.env);
}

function multiarch(): string {
  return process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
}

/** One connection each: `agent: false` keeps none. */
function get(port: number, secureContext: SecureContext): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: 'localhost', port, secureContext, agent: false };
    const sent = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        resolve(text);
      });
    });
    sent.on('error', reject).end();
  });
}
