/** PKCS#12 (RFC 7292): a private key and certificates, as other people's tools pack them. */
import { createPrivateKey, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { causeOf } from '../agent/errors.ts';
import { issuersOf } from '../agent/io/certificate-chain.ts';

/** What the thread is given. */
export interface Pkcs12Input {
  readonly bytes: Uint8Array;
  readonly passwords: readonly string[];
}

/** DER: keys as PKCS#8. */
export interface Pkcs12Content {
  readonly keys: readonly Uint8Array[];
  readonly certificates: readonly Uint8Array[];
}

/** One key, the certificate for it, and whatever other certificates came along. */
export interface Pkcs12Identity {
  readonly privateKey: KeyObject;
  readonly certificate: X509Certificate;
  readonly others: readonly X509Certificate[];
}

/** Why it cannot be used, for people; whoever asked knows where it came from. */
export class Pkcs12Problem extends Error {}

export const MAX_PKCS12_BYTES = 256 * 1024;
/** Beside this file, and compiled where this is. */
const WORKER = join(import.meta.dirname, `pkcs12-worker${extname(import.meta.filename)}`);
/** A second is usual; a file may ask for years. */
const LONGEST_MS = 20_000;
const MEMORY_MIB = 64;

/**
 * Opens a PKCS#12 file with one key in it.
 *
 * @param passwords - tried in this order
 * @param longestMs - how long it may take
 * @throws Pkcs12Problem
 */
export async function openPkcs12(
  bytes: Uint8Array,
  passwords: readonly string[],
  longestMs = LONGEST_MS,
): Promise<Pkcs12Identity> {
  if (bytes.length > MAX_PKCS12_BYTES) throw new Pkcs12Problem('it is larger than 256 KiB');
  const { keys, certificates } = await inThread({ bytes, passwords }, longestMs);
  const [key, ...more] = keys;
  if (key === undefined || more.length > 0) {
    throw new Pkcs12Problem(`it has ${String(keys.length)} private keys instead of one`);
  }
  const privateKey = parsed(() =>
    createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' }),
  );
  const all = certificates.map((der) => parsed(() => new X509Certificate(der)));
  const publicKey = createPublicKey(privateKey);
  const certificate = all.find((one) => one.publicKey.equals(publicKey));
  if (certificate === undefined) throw new Pkcs12Problem('it has no certificate for its key');
  return { privateKey, certificate, others: all.filter((one) => one !== certificate) };
}

/** The same as PEM: PKCS#8, and the certificate with its issuers after it. */
export function pemOf({ privateKey, certificate, others }: Pkcs12Identity): {
  readonly keyPem: string;
  readonly certificatePem: string;
} {
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return {
    keyPem,
    certificatePem: [certificate, ...issuersOf(certificate, others)].map(String).join(''),
  };
}

async function inThread(workerData: Pkcs12Input, longestMs: number): Promise<Pkcs12Content> {
  const worker = new Worker(WORKER, {
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MIB },
  });
  const late = AbortSignal.timeout(longestMs);
  try {
    const [said] = (await once(worker, 'message', { signal: late })) as [
      Pkcs12Content | { readonly problem: string },
    ];
    if (!('problem' in said)) return said;
    throw new Pkcs12Problem(said.problem);
  } catch (error) {
    if (error instanceof Pkcs12Problem) throw error;
    const problem = late.aborted
      ? `opening it takes longer than ${String(longestMs / 1000)} s`
      : causeOf(error);
    throw new Pkcs12Problem(problem, { cause: error });
  } finally {
    await worker.terminate();
  }
}

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new Pkcs12Problem(causeOf(cause), { cause });
  }
}
