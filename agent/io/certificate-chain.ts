/** From a certificate up to whoever issued it, as far as the certificates at hand reach. */
import { X509Certificate } from 'node:crypto';

/** More is no chain of a device (and bounds what a server may have us verify). */
const MAX_LINKS = 8;

/**
 * The issuers of a certificate, its own first.
 *
 * Every link is verified: by names, key usage and signature. Dates are not looked at, because whoever
 * is shown the chain does that by a clock that is right.
 *
 * @param candidates - in no particular order, foreign ones among them
 * @returns a self-signed one last, if the chain gets there
 */
export function issuersOf(
  certificate: X509Certificate,
  candidates: readonly X509Certificate[],
): X509Certificate[] {
  const links: X509Certificate[] = [];
  let last = certificate;
  while (links.length < MAX_LINKS && !isSelfIssued(last)) {
    const issuer = candidates.find((one) => !links.includes(one) && hasIssued(one, last));
    if (issuer === undefined) break;
    links.push(issuer);
    last = issuer;
  }
  return links;
}

/** Whether it is its own issuer: a root, which a server has or does not believe. */
export function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate);
}

/** Those of `ders` that parse. */
export function parseEach(ders: readonly Uint8Array[]): X509Certificate[] {
  return ders.flatMap((der) => {
    try {
      return [new X509Certificate(der)];
    } catch {
      return [];
    }
  });
}

function hasIssued(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}
