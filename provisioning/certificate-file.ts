/** Certificates that somebody brings in a file: alone, with their chain, or as PKCS#7. */
import { readFile } from 'node:fs/promises';

import { causeOf, OtaError } from '../agent/errors.ts';
import { parseCertificates } from './certificate.ts';

const PEM = /-----BEGIN (CERTIFICATE|PKCS7)-----([A-Za-z0-9+/=\s]+)-----END \1-----/gu;

/**
 * @returns DER of each, at least one; what is no certificate at all is given on as it is
 * @throws OtaError FILE_UNREADABLE
 */
export async function certificatesIn(path: string): Promise<Uint8Array[]> {
  const bytes = await read(path);
  const blocks = [...bytes.toString('latin1').matchAll(PEM)];
  const ders = blocks.flatMap(([, type, text = '']) => {
    const der = Buffer.from(text, 'base64');
    return type === 'PKCS7' ? unpacked(path, der) : [der];
  });
  return ders.length === 0 ? [bytes] : ders;
}

function unpacked(path: string, der: Uint8Array): Uint8Array[] {
  try {
    return parseCertificates(der);
  } catch (cause) {
    throw unreadable(path, `PKCS#7: ${causeOf(cause)}`, cause);
  }
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw unreadable(path, causeOf(cause), cause);
  }
}

/** Whether `certificatesIn` threw because there is no file. */
export function isAbsent(error: unknown): boolean {
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

function unreadable(path: string, problem: string, cause: unknown): OtaError<'FILE_UNREADABLE'> {
  const remedy = 'bring the certificate that the CA issued';
  const details = { path, what: 'device certificate', cause: problem, remedy };
  return new OtaError('FILE_UNREADABLE', details, { cause });
}
