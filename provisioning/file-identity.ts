/** Step 3 where the TLS identity is files: brought by somebody, or got from a server that makes keys. */
import { existsSync } from 'node:fs';

import { identitySettings } from '../agent/io/gateway-trust.ts';
import { readFileIdentity } from '../agent/io/tls-file.ts';
import { demandDeviceId, rememberDeviceId, sayCertificate } from './enroll.ts';
import { leaveFile } from './leave-file.ts';
import type { Outcome, Provisioning } from './record.ts';
import {
  forgetSharedCredential,
  keptCredential,
  sharedCredential,
  usesServerKey,
} from './shared-cred.ts';

/**
 * Checks the files that `identity` names, and in mode `shared-cred` makes them.
 *
 * @throws OtaError FILE_UNREADABLE, CERTIFICATE_INVALID; those of `sharedCredential`, STORAGE_FAILED
 */
export async function provisionFromFiles(all: Provisioning): Promise<void> {
  const outcome = usesServerKey(all.settings) ? await fetchFiles(all) : 'found done';
  const { certificate } = readFileIdentity(identitySettings(all.settings), all.now());
  demandDeviceId(all, certificate);
  await rememberDeviceId(all, certificate);
  if (usesServerKey(all.settings)) await forgetSharedCredential(all);
  sayCertificate(all, outcome, { certificate, issuers: [] });
}

/** Writes no file over that a run before has not made: somebody's key may be in it. */
async function fetchFiles(all: Provisioning): Promise<Outcome> {
  const { tls_key_file: key = '', tls_certificate_file: certificate = '' } = all.settings.identity;
  const isThere = [key, certificate].some((path) => existsSync(path));
  if (isThere && (await keptCredential(all)) === undefined) return 'found done';
  const { keyPem, certificatePem } = await sharedCredential(all);
  await leaveFile('identity.tls_key_file', key, keyPem, 0o600);
  await leaveFile('identity.tls_certificate_file', certificate, certificatePem, 0o644);
  return 'done now';
}
