/** The thread that opens PKCS#12, because its key derivation takes as long as the file says. */
import { parentPort, workerData } from 'node:worker_threads';

import forge from 'node-forge';

import type { Pkcs12Content, Pkcs12Input } from './pkcs12.ts';

const { bytes, passwords } = workerData as Pkcs12Input;
parentPort?.postMessage(read(bytes, passwords));

/** The first password that its integrity check accepts. */
function read(der: Uint8Array, candidates: readonly string[]): Pkcs12Content | { problem: string } {
  let problem = 'no password was tried';
  for (const password of candidates) {
    try {
      return contentOf(der, password);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
  }
  return { problem };
}

/** The library reads RSA only; whatever is in a bag, its DER is given on for others to read. */
function contentOf(der: Uint8Array, password: string): Pkcs12Content {
  const asn1 = forge.asn1.fromDer(forge.util.createBuffer(Buffer.from(der).toString('binary')));
  const pfx = forge.pkcs12.pkcs12FromAsn1(asn1, true, password);
  const keys: Uint8Array[] = [];
  const certificates: Uint8Array[] = [];
  const { keyBag, pkcs8ShroudedKeyBag, certBag } = forge.pki.oids;
  for (const { safeBags } of pfx.safeContents) {
    for (const { type, key, cert, asn1: raw } of safeBags) {
      if (type === keyBag || type === pkcs8ShroudedKeyBag) {
        keys.push(key ? pkcs8Of(key) : derOf(raw));
      } else if (type === certBag) {
        certificates.push(derOf(cert ? forge.pki.certificateToAsn1(cert) : raw));
      }
    }
  }
  return { keys, certificates };
}

function pkcs8Of(key: forge.pki.PrivateKey): Uint8Array {
  return derOf(forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(key)));
}

function derOf(asn1: forge.asn1.Asn1): Uint8Array {
  return Buffer.from(forge.asn1.toDer(asn1).getBytes(), 'binary');
}
