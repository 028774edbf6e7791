/** Step 3 where the TLS identity is files: nothing is made, everything is checked. */
import { identitySettings } from '../agent/io/gateway-trust.ts';
import { readFileIdentity } from '../agent/io/tls-file.ts';
import { demandDeviceId, rememberDeviceId, sayCertificate } from './enroll.ts';
import type { Provisioning } from './record.ts';

/** @throws OtaError FILE_UNREADABLE, CERTIFICATE_INVALID */
export async function provisionFromFiles(all: Provisioning): Promise<void> {
  const { certificate } = readFileIdentity(identitySettings(all.settings), all.now());
  demandDeviceId(all, certificate);
  await rememberDeviceId(all, certificate);
  sayCertificate(all, 'found done', { certificate, issuers: [] });
}
