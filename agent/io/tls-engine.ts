/**
 * The OpenSSL engine that lets TLS sign with a key in the token: Debian's libengine-pkcs11-openssl
 * (libp11). OpenSSL 4 has no engines; what replaces them replaces this file.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

import { causeOf, OtaError } from '../errors.ts';
import { libraryFolders } from './library-folders.ts';
import type { ObjectName } from './token/cryptoki.ts';
import { idOf } from './token/generations.ts';
import { changedKeyCount } from './token/keys.ts';
import { libraryOf } from './token/module.ts';
import { formatPkcs11Uri } from './token/pkcs11-uri.ts';
import type { Token } from './token/token.ts';

const ENGINE_FILE = 'pkcs11.so';
const ENGINE_FOLDER = 'engines-3';

/**
 * A SecureContext whose private key is one of the token's.
 *
 * The token must be logged in, and libp11 gets no PIN: login is shared, so it needs none, it prints the
 * whole key URI when it does not find a key, and it would spend tries of its own. Behind p11-kit every
 * user of the library has a connection of its own, so there libp11 is told where to read the PIN.
 *
 * @throws OtaError TOKEN_MODULE if the engine is not installed
 * @throws OtaError TOKEN_OBJECT if it cannot load the key
 * @throws OtaError TOKEN_FAILED if it cannot, and a new process can
 */
export function createEngineContext(
  token: Token,
  key: ObjectName,
  options: SecureContextOptions,
): SecureContext {
  const uri = formatPkcs11Uri({
    ...token.name,
    object: key.label,
    // libp11 remembers keys that are gone: by its label alone, it could take one of those.
    ...(key.generation === undefined ? {} : { id: idOf(key) }),
    type: 'private',
  });
  useEngine(libraryOf(token.settings));
  // Login and session as libp11 will find them, now.
  token.run('log in for TLS', () => undefined);
  try {
    // The PIN has just been accepted: that libp11 logs in with it costs no try.
    const context = token.withPinFile((pinFile) =>
      createSecureContext({
        ...options,
        privateKeyEngine: 'pkcs11',
        privateKeyIdentifier: pinFile === undefined ? uri : `${uri}?pin-source=file:${pinFile}`,
      }),
    );
    changedBefore ??= changedKeyCount();
    return context;
  } catch (cause) {
    if (changedBefore !== undefined && changedKeyCount() > changedBefore) {
      const details = { operation: 'load the TLS key', cause: `${causeOf(cause)}: ${STALE}` };
      throw new OtaError('TOKEN_FAILED', details, { cause });
    }
    const problem = `the TLS engine cannot load the key: ${causeOf(cause)}`;
    throw new OtaError('TOKEN_OBJECT', { uri, problem, remedy: REMEDY }, { cause });
  }
}

/** Key objects that this process had made and destroyed when libp11 first listed what there is. */
let changedBefore: number | undefined;

/**
 * A token may give a new object the handle of one that is gone; libp11 takes it for that one. And each
 * process of tpm2-pkcs11 knows the keys that there were when it began: behind p11-kit, libp11's is not ours.
 */
const STALE = 'the TLS engine knows the keys of before; a new process finds the new one';

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
