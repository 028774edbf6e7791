/**
 * A TLS key in a file, for development and for devices that come from another agent.
 *
 * Whoever can read the disk is this device, so it is never chosen by itself and never without a word.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

import { causeOf, OtaError } from '../errors.ts';
import type { Instant } from '../uptane/time.ts';
import type { ChosenContext } from './tls-backends.ts';
import {
  checkDeviceCertificate,
  contextOptions,
  parseDeviceCertificate,
  type DeviceCertificate,
  type ServerTrust,
} from './tls.ts';

/** For everybody who has such a device, each time. */
const KEY_IN_FILE =
  'the TLS key is a file (token.tls_backend = "file"): whoever reads the disk is this device; ' +
  'for development and migration only';

export interface FileIdentity {
  readonly certificate: DeviceCertificate;
  readonly open: (trust: ServerTrust) => ChosenContext;
}

/**
 * Reads key and certificate and proves that they belong together.
 *
 * @throws OtaError FILE_UNREADABLE, CERTIFICATE_INVALID
 */
export function readFileIdentity(
  files: {
    readonly tls_key_file?: string | undefined;
    readonly tls_certificate_file?: string | undefined;
  },
  now: Instant,
): FileIdentity {
  const key = readKeyFile(files.tls_key_file);
  const certificatePem = read(files.tls_certificate_file, 'tls_certificate_file');
  const certificate = parseDeviceCertificate(certificatePem, files.tls_certificate_file ?? '');
  checkDeviceCertificate(certificate, createPublicKey(key), now, files.tls_key_file);
  return {
    certificate,
    open: (trust) => ({
      context: createSecureContext({
        ...contextOptions(trust),
        // The whole file: what follows the device's certificate are its CAs.
        cert: certificatePem,
        key: key.export({ type: 'pkcs8', format: 'pem' }),
      }),
      choice: { backend: 'file', reason: KEY_IN_FILE },
    }),
  };
}

/** @throws OtaError FILE_UNREADABLE */
export function readKeyFile(path = ''): KeyObject {
  const pem = read(path, 'tls_key_file');
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    const problem = 'it is not a private key in PEM without a passphrase';
    throw unreadable(path, problem, 'tls_key_file', cause);
  }
}

function read(path: string | undefined, setting: string): Buffer {
  try {
    return readFileSync(path ?? '');
  } catch (cause) {
    throw unreadable(path ?? '', causeOf(cause), setting, cause);
  }
}

function unreadable(
  path: string,
  problem: string,
  setting: string,
  cause: unknown,
): OtaError<'FILE_UNREADABLE'> {
  const what = setting === 'tls_key_file' ? 'TLS key' : 'TLS certificate';
  const remedy = `check identity.${setting} and the permissions of the file`;
  return new OtaError('FILE_UNREADABLE', { path, what, cause: problem, remedy }, { cause });
}
