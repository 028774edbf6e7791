/** Public keys that the configuration names: one of them has to vouch for the gateway. */
import { createHash, X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate } from 'node:tls';

import { TlsRefusal } from './tls-refusal.ts';

/**
 * The certificates from the server's own up, each signed by the key of the next.
 *
 * OpenSSL has verified some chain, but does not say which. What the peer sent beside it proves nothing:
 * a stranger can add a pinned CA's certificate to his own. So every link is verified here.
 */
export function signedChain(leaf: DetailedPeerCertificate): readonly X509Certificate[] {
  const chain = [new X509Certificate(leaf.raw)];
  for (let above = issuerOf(leaf); above !== undefined; above = issuerOf(above)) {
    const parent = new X509Certificate(above.raw);
    const isSigner = chain.at(-1)?.checkIssued(parent) && chain.at(-1)?.verify(parent.publicKey);
    if (isSigner !== true) break;
    chain.push(parent);
  }
  return chain;
}

/** Node makes the certificate at the end its own issuer, and names none that it does not know. */
function issuerOf(offered: DetailedPeerCertificate): DetailedPeerCertificate | undefined {
  const { issuerCertificate: above }: Partial<DetailedPeerCertificate> = offered;
  return above === offered ? undefined : above;
}

/** A pin of a certificate's key, as `gateway.pins` has it. Source: RFC 7469 §2.4. */
export function pinOf(certificate: X509Certificate): string {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return `sha256/${createHash('sha256').update(spki).digest('base64')}`;
}

/**
 * Refuses a server for which none of the pinned keys vouches.
 *
 * @throws TlsRefusal with the pins that there are
 */
export function demandPin(chain: readonly X509Certificate[], pins: readonly string[]): void {
  const offered = chain.map((certificate) => ({ pin: pinOf(certificate), certificate }));
  if (offered.some(({ pin }) => pins.includes(pin))) return;
  const list = offered.map(
    ({ pin, certificate }) => `${pin} (${certificate.subject.replace(/\n/gu, ', ')})`,
  );
  throw new TlsRefusal(
    'ERR_TLS_PIN',
    `none of the keys in gateway.pins vouches for it; it has ${list.join(', ')}`,
    `if the gateway's key was changed by its owners, who confirm it elsewhere, add ${offered[0]?.pin ?? ''} to gateway.pins; else somebody stands between`,
  );
}
