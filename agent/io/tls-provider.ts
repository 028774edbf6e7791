/**
 * pkcs11-provider: how TLS signs with a key in the token where OpenSSL has no engines.
 *
 * A provider is activated by the OpenSSL configuration that a process starts with (`OPENSSL_CONF`, or
 * Node's `--openssl-config`), never later. `systemd/openssl-pkcs11-provider.cnf` is one.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { extname, join } from 'node:path';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

import { causeOf, OtaError } from '../errors.ts';
import type { TlsCredential } from './tls-backends.ts';
import type { ObjectName } from './token/cryptoki.ts';
import { idOf } from './token/generations.ts';
import { libraryOf } from './token/module.ts';
import { readPin } from './token/pin.ts';
import { formatPkcs11Uri } from './token/pkcs11-uri.ts';
import type { Token } from './token/token.ts';

const PROBE_MS = 10_000;
const PROBE = join(import.meta.dirname, `tls-provider-probe${extname(import.meta.filename)}`);
const CONFIG_OPTION = '--openssl-config';

/** What the probe found for a key, `undefined` for a key that signs: asked once per start. */
const probed = new Map<string, string | undefined>();

/**
 * A SecureContext whose private key is the token's TLS key, by way of the provider.
 *
 * On some systems the provider takes the whole process with it (Node's libcrypto and the system's mix),
 * so a process of its own signs with the key first.
 *
 * @throws OtaError TOKEN_MODULE if no provider is active, or it crashes, hangs or does not sign
 */
export function createProviderContext(
  token: Token,
  { key: name, certificatePem }: TlsCredential,
  options: SecureContextOptions,
): SecureContext {
  const { module } = token.settings;
  if (!isConfigured()) {
    throw unusable(module, 'this process started without OPENSSL_CONF, so no provider is active');
  }
  const key = providerKey(token, name);
  const library = libraryOf(token.settings);
  const problem = probeOnce({ module: library, key, certificate: certificatePem });
  if (problem !== undefined) throw unusable(module, problem);
  try {
    return createSecureContext({ ...options, cert: certificatePem, key });
  } catch (cause) {
    throw unusable(module, causeOf(cause), cause);
  }
}

export interface Probe {
  /** PKCS#11 library: loaded first, as the agent does, because the two share a process. */
  readonly module: string;
  /** PEM. */
  readonly key: string;
  readonly certificate: string;
}

function probeOnce(probe: Probe): string | undefined {
  const name = createHash('sha256').update(JSON.stringify(probe)).digest('hex');
  if (!probed.has(name)) probed.set(name, probeProvider(probe));
  return probed.get(name);
}

/**
 * Signs with the key in a process of its own, started as this one was.
 *
 * The key, which may carry a PIN, goes through a pipe: arguments and environment are for all to see.
 *
 * @returns why it does not work, or `undefined`
 */
export function probeProvider(probe: Probe, timeoutMs: number = PROBE_MS): string | undefined {
  const inherited = process.execArgv.filter((argument) => argument.startsWith(CONFIG_OPTION));
  const { status, signal, error, stdout, stderr } = spawnSync(
    process.execPath,
    [...inherited, PROBE],
    { input: JSON.stringify(probe), timeout: timeoutMs, killSignal: 'SIGKILL', encoding: 'utf8' },
  );
  if (error !== undefined && 'code' in error && error.code === 'ETIMEDOUT') {
    return `the probe did not end within ${String(timeoutMs)} ms`;
  }
  // It may crash before it has read the key: then writing fails as well.
  if (signal !== null) return `the probe crashed with ${signal}`;
  if (error !== undefined) return `the probe did not start: ${causeOf(error)}`;
  if (status === 0) return undefined;
  const [said = ''] = (stdout || stderr).trim().split('\n');
  return `the probe ended with ${String(status)}: ${said}`;
}

function isConfigured(): boolean {
  const byOption = process.execArgv.some((argument) => argument.startsWith(CONFIG_OPTION));
  return byOption || (process.env['OPENSSL_CONF'] ?? '') !== '';
}

function unusable(module: string, problem: string, cause?: unknown): OtaError<'TOKEN_MODULE'> {
  const remedy =
    'install pkcs11-provider (Debian 13) and start the agent with OPENSSL_CONF naming a file as ' +
    'systemd/openssl-pkcs11-provider.cnf; or use the engine: apt-get install libengine-pkcs11-openssl';
  const options = cause === undefined ? undefined : { cause };
  return new OtaError('TOKEN_MODULE', { module, cause: problem, remedy }, options);
}

/** Sessions of the provider are its own, so it logs in by itself, with the PIN that was right for us. */
function providerKey(token: Token, key: ObjectName): string {
  const id = key.generation === undefined ? {} : { id: idOf(key) };
  const uri = formatPkcs11Uri({ ...token.name, object: key.label, ...id, type: 'private' });
  if (token.settings.login !== 'pin') return providerPem(uri);
  const pin = encodeURIComponent(readPin('user', token.settings, process.env).reveal());
  return providerPem(`${uri}?pin-value=${pin}`);
}

/**
 * The URI in the form that the provider's decoder takes for a private key.
 *
 * Source: pkcs11-provider, docs/provider-pkcs11.7: `SEQUENCE { VisibleString, UTF8String }` in PEM.
 */
export function providerPem(uri: string): string {
  const der = element(
    0x30,
    Buffer.concat([
      element(0x1a, Buffer.from('PKCS#11 Provider URI v1.0')),
      element(0x0c, Buffer.from(uri)),
    ]),
  );
  const lines = der.toString('base64').match(/.{1,64}/gu) ?? [];
  const label = 'PKCS#11 PROVIDER URI';
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/** A DER element; lengths of ours fit two octets (X.690 §8.1.3). */
function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const header =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...header]), content]);
}
