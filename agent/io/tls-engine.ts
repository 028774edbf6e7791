/**
 * The OpenSSL engine that lets TLS sign with a key in the token: Debian's libengine-pkcs11-openssl
 * (libp11). OpenSSL 4 has no engines; what replaces them replaces this file.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

import { causeOf, OtaError } from '../errors.ts';
import type { ObjectName } from './token/cryptoki.ts';
import { idOf } from './token/generations.ts';
import { destroyedKeyCount } from './token/keys.ts';
import { formatPkcs11Uri } from './token/pkcs11-uri.ts';
import type { Token } from './token/token.ts';

const ENGINE_FILE = 'pkcs11.so';
const LIBRARY_ROOTS = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];
const ENGINE_FOLDER = 'engines-3';
/** Debian's multiarch names, so that a foreign architecture's engine is not the one that is found. */
const MULTIARCH: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  arm: 'arm-linux-gnueabihf',
  arm64: 'aarch64-linux-gnu',
  ia32: 'i386-linux-gnu',
  riscv64: 'riscv64-linux-gnu',
  x64: 'x86_64-linux-gnu',
};

/**
 * A SecureContext whose private key is one of the token's.
 *
 * The token must be logged in, and libp11 gets no PIN: login is shared, so it needs none, it prints the
 * whole key URI when it does not find a key, and it would spend tries of its own.
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
  const identifier = formatPkcs11Uri({
    ...token.name,
    object: key.label,
    // libp11 remembers keys that are gone: by its label alone, it could take one of those.
    ...(key.generation === undefined ? {} : { id: idOf(key) }),
    type: 'private',
  });
  useEngine(token.settings.module);
  // Login and session as libp11 will find them, now.
  token.run('log in for TLS', () => undefined);
  try {
    const context = createSecureContext({
      ...options,
      privateKeyEngine: 'pkcs11',
      privateKeyIdentifier: identifier,
    });
    destroyedBefore ??= destroyedKeyCount();
    return context;
  } catch (cause) {
    if (destroyedBefore !== undefined && destroyedKeyCount() > destroyedBefore) {
      const details = { operation: 'load the TLS key', cause: `${causeOf(cause)}: ${STALE}` };
      throw new OtaError('TOKEN_FAILED', details, { cause });
    }
    const problem = `the TLS engine cannot load the key: ${causeOf(cause)}`;
    throw new OtaError('TOKEN_OBJECT', { uri: identifier, problem, remedy: REMEDY }, { cause });
  }
}

/** Key objects that this process had destroyed when libp11 first listed what there is. */
let destroyedBefore: number | undefined;

/** A token may give a new object the handle of one that is gone; libp11 takes it for that one. */
const STALE = 'the TLS engine still knows a key that is gone; a new process finds the new one';

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
  const directories = configured === undefined ? engineDirectories() : [configured];
  const found = directories.find((directory) => existsSync(join(directory, ENGINE_FILE)));
  if (found !== undefined) return found;
  throw new OtaError('TOKEN_MODULE', {
    module,
    cause: `no ${ENGINE_FILE} in ${directories.join(', ')}`,
    remedy: 'apt-get install libengine-pkcs11-openssl, or set OPENSSL_ENGINES to its directory',
  });
}

function engineDirectories(): string[] {
  return LIBRARY_ROOTS.flatMap((root) => {
    const native = MULTIARCH[process.arch];
    const folders = native === undefined ? subfolders(root) : [native];
    return [
      ...folders.map((folder) => join(root, folder, ENGINE_FOLDER)),
      join(root, ENGINE_FOLDER),
    ];
  });
}

function subfolders(root: string): string[] {
  if (!existsSync(root)) return [];
  const entries = readdirSync(root, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
