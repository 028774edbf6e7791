/** A TLS key that was made somewhere else, on its way into the token: for migration only. */
import { existsSync } from 'node:fs';
import type { KeyObject } from 'node:crypto';

import { readKeyFile } from '../agent/io/tls-file.ts';
import type { Settings } from '../agent/settings.ts';
import type { Provisioning } from './record.ts';
import { sharedCredential, usesServerKey } from './shared-cred.ts';

/** Where such a key comes from. */
export interface KeySource {
  /** Asked only as long as the token does not have it. */
  readonly read: () => Promise<KeyObject>;
  /** What is left of it outside the token, for people. */
  readonly leftover: () => string | undefined;
}

/** @returns `undefined` where the TLS key is made in the token, or is a file and stays one */
export function keySource(all: Provisioning): KeySource | undefined {
  const { token, identity } = all.settings;
  if (token.tls_backend === 'file') return undefined;
  if (usesServerKey(all.settings)) {
    const read = async (): Promise<KeyObject> => (await sharedCredential(all)).privateKey;
    return { read, leftover: () => undefined };
  }
  const { tls_key_file: path } = identity;
  if (path === undefined) return undefined;
  return {
    read: () => Promise.resolve(readKeyFile(path)),
    leftover: () => (existsSync(path) ? `${path} holds a copy of the key: remove it` : undefined),
  };
}

/** Where mode `device-cred` finds the certificate: beside a key file, if there is one. */
export function certificateFile({ identity, provisioning }: Settings): string | undefined {
  return identity.tls_certificate_file ?? provisioning.certificate_file;
}
