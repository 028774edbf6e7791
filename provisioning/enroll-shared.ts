/** The certificate by way of a credential that the server makes. */
import type { TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import { fromEst } from './enroll-est.ts';
import { contextOf } from './est-client.ts';
import { issuedAmong, type Issued } from './issued.ts';
import { deviceId, type Provisioning } from './record.ts';
import { hasUsedSharedCredential, sharedCredential, usesServerKey } from './shared-cred.ts';

/**
 * Takes the server's certificate where its key is in the token; else shows it to the EST server, for a
 * certificate of the key that was made in the token.
 *
 * @throws OtaError those of `sharedCredential` and `fromEst`, CERTIFICATE_INVALID
 */
export async function fromShared(all: Provisioning, token: Token, key: TokenKey): Promise<Issued> {
  const { est_url: url } = all.settings.provisioning;
  if (url !== undefined && (await hasUsedSharedCredential(all))) {
    // The server gives no second one: from now on, the device enrols as any other.
    return fromEst(all, token, { key, deviceId: await deviceId(all) });
  }
  const shared = await sharedCredential(all);
  if (usesServerKey(all.settings)) {
    return issuedAmong(shared.certificates, 'credential from the server', key, all.now());
  }
  const context = (caPem: string | undefined): ReturnType<typeof contextOf> =>
    contextOf(shared, { caPem });
  return fromEst(all, token, { key, deviceId: shared.deviceId, context });
}
