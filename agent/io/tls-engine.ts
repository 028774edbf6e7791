/**
 * The OpenSSL engine that lets TLS sign with a key in the token: Debian's libengine-pkcs11-openssl
 * (libp11). OpenSSL 4 has no engines; what replaces them replaces this file.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

import { causeOf, OtaError } from '../errors.ts';
import { libraryFolders } from './library-folders.ts';
import { TLS_KEY } from './token/cryptoki.ts';
import { libraryOf } from './token/module.ts';
import { formatPkcs11Uri } from './token/pkcs11-uri.ts';
import type { Token } from './token/token.ts';

const ENGINE_FILE = 'pkcs11.so';
const ENGINE_FOLDER = 'engines-3';

/**
 * A SecureContext whose private key is the token's TLS key.
 *
 * The token must be logged in, and libp11 gets no PIN: login is shared, so it needs none, it prints the
 * whole key URI when it does not find a key, and it would spend tries of its own. Behind p11-kit every
 * user of the library has a connection of its own, so there libp11 is told where to read the PIN.
 *
 * @throws OtaError TOKEN_MODULE if the engine is not installed
 * @throws OtaError TOKEN_OBJECT if it cannot load the key
 */
export function createEngineContext(token: Token, options: SecureContextOptions): SecureContext {
  const uri = formatPkcs11Uri({ ...token.name, object: TLS_KEY.label, type: 'private' });
  const identifier = uri + pinSource(token);
  useEngine(libraryOf(token.settings));
  // Login and session as libp11 will find them, now.
  token.run('log in for TLS', () => undefined);
  try {
    return createSecureContext({
      ...options,
      privateKeyEngine: 'pkcs11',
      privateKeyIdentifier: identifier,
    });
  } catch (cause) {
    const problem = `the TLS engine cannot load the key: ${causeOf(cause)}`;
    throw new OtaError('TOKEN_OBJECT', { uri, problem, remedy: REMEDY }, { cause });
  }
}

/** The PIN has just been accepted: it costs no try. */
function pinSource(token: Token): string {
  token.run('log in for TLS', () => undefined);
  const path = token.pinFileForIsolation();
  return path === undefined ? '' : `?pin-source=file:${path}`;
}

const REMEDY =
  'if the token holds an Ed25519 key, use libp11 0.4.13 or identity.uptane_key_type = "rsa-2048": ' +
  'libp11 0.4.12 stops at such keys; otherwise restart the agent';

/**
 * OpenSSL finds an engine by its name only where OPENSSL_ENGINES says; by its path, only once per
 * process. libp11 reads PKCS11_MODULE_PATH when it is first used.
 */
function useEngine(module: string): void {
  process.env['OPENSSL_ENGINES'] = findEngineDirectory(process.env['OPENSSL_ENGINES'], module);
  process.env['PKCS11_MODULE_PATH'] = module;
}

function findEngineDirectory(configured: string | undefined, module: string): string {
  const directories = configured === undefined ? libraryFolders(ENGINE_FOLDER) : [configured];
  const found = directories.find((directory) => existsSync(join(directory, ENGINE_FILE)));
  if (found !== undefined) return found;
  throw new OtaError('TOKEN_MODULE', {
    module,
    cause: `no ${ENGINE_FILE} in ${directories.join(', ')}`,
    remedy: 'apt-get install libengine-pkcs11-openssl, or set OPENSSL_ENGINES to its directory',
  });
}
