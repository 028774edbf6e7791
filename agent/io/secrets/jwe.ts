/**
 * Opens what was encrypted to this device: compact JWE, ECDH-ES on P-256 with A256GCM, and nothing else.
 *
 * The private key stays in its token, which does the agreement; the rest is done here.
 *
 * Source: RFC 7516 §5.2; RFC 7518 §4.6 and §5.3.
 */
import { createDecipheriv, createHash, createPublicKey } from 'node:crypto';

import { Fields, parseJson } from '../../decode.ts';

/** Both keys' shared secret: the x coordinate, 32 bytes. The point is uncompressed and on the curve. */
export type Agree = (point: Uint8Array) => Uint8Array;

export interface OpenedJwe {
  /** The protected header: what the sender said beside the content, authenticated with it. */
  readonly header: Fields;
  readonly content: Buffer;
}

/** Says why; the caller says of what. */
export class JweRefused extends Error {
  override readonly name = 'JweRefused';
}

const ALGORITHM = 'ECDH-ES';
const ENCRYPTION = 'A256GCM';
/** They decide what the other members mean: a header with more of them is of another profile. */
const REFUSED_MEMBERS = ['crit', 'zip'] as const;
const KEY_BITS = 256;
const COORDINATE_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const BASE64URL = /^[A-Za-z0-9_-]*$/u;

/**
 * @param text - `HEADER..IV.CIPHERTEXT.TAG`; the caller has bounded its length
 * @throws JweRefused
 */
export function openJwe(text: string, agree: Agree): OpenedJwe {
  const parts = text.split('.');
  const [protectedText = '', encryptedKey, ...rest] = parts;
  if (parts.length !== 5) throw new JweRefused('it is not compact JWE: five parts between dots');
  if (encryptedKey !== '') throw new JweRefused(`${ALGORITHM} has no encrypted key`);
  const [iv, ciphertext, tag] = rest.map((part) => decode(part)) as [Buffer, Buffer, Buffer];
  if (iv.byteLength !== IV_BYTES)
    throw new JweRefused(`the IV must have ${String(IV_BYTES)} bytes`);
  if (tag.byteLength !== TAG_BYTES) {
    throw new JweRefused(`the tag must have ${String(TAG_BYTES)} bytes`);
  }
  const header = readHeader(protectedText);
  const key = deriveKey(agree(readPoint(header.object('epk'))), header);
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(protectedText, 'ascii')).setAuthTag(tag);
  try {
    return { header, content: Buffer.concat([decipher.update(ciphertext), decipher.final()]) };
  } catch (cause) {
    throw new JweRefused('it was encrypted to another key, or changed since', { cause });
  } finally {
    key.fill(0);
  }
}

/** An RFC 7638 thumbprint of a P-256 key, Base64url: the `kid` by which senders name it. */
export function thumbprint({ x, y }: { readonly x: string; readonly y: string }): string {
  const text = JSON.stringify({ crv: 'P-256', kty: 'EC', x, y });
  return createHash('sha256').update(text).digest('base64url');
}

function readHeader(text: string): Fields {
  let header: Fields;
  try {
    header = new Fields(parseJson(decode(text), 'header'), 'header');
  } catch (cause) {
    if (cause instanceof JweRefused) throw cause;
    throw new JweRefused('its header is not a JSON object', { cause });
  }
  const named = (name: string): string => (header.has(name) ? header.string(name) : 'none');
  if (named('alg') !== ALGORITHM) {
    throw new JweRefused(`its alg is ${named('alg')}, want ${ALGORITHM}`);
  }
  if (named('enc') !== ENCRYPTION) {
    throw new JweRefused(`its enc is ${named('enc')}, want ${ENCRYPTION}`);
  }
  const refused = REFUSED_MEMBERS.find((name) => header.has(name));
  if (refused !== undefined) throw new JweRefused(`its header has ${refused}, which is not taken`);
  return header;
}

/** A point off the curve would make the token tell its key, bit by bit. */
function readPoint(epk: Fields): Buffer {
  const [x, y] = [epk.string('x'), epk.string('y')];
  const jwk = { kty: epk.string('kty'), crv: epk.string('crv'), x, y };
  if (jwk.kty !== 'EC' || jwk.crv !== 'P-256') throw new JweRefused('its epk is not on P-256');
  const coordinates = [x, y].map((one) => decode(one));
  if (coordinates.some(({ byteLength }) => byteLength !== COORDINATE_BYTES)) {
    throw new JweRefused('a coordinate of its epk has not 32 bytes');
  }
  try {
    createPublicKey({ key: jwk, format: 'jwk' });
  } catch (cause) {
    throw new JweRefused('its epk is no point of P-256', { cause });
  }
  return Buffer.concat([Buffer.of(4), ...coordinates]);
}

/** Concat KDF, one round: RFC 7518 §4.6.2, NIST SP 800-56A §5.8.1. */
function deriveKey(shared: Uint8Array, header: Fields): Buffer {
  const party = (name: 'apu' | 'apv'): Buffer => decode(header.optionalString(name) ?? '');
  const info = [Buffer.from(ENCRYPTION), party('apu'), party('apv')].flatMap((part) => [
    uint32(part.byteLength),
    part,
  ]);
  const digest = createHash('sha256');
  for (const part of [uint32(1), shared, ...info, uint32(KEY_BITS)]) digest.update(part);
  shared.fill(0);
  return digest.digest();
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Node skips what is not Base64url: two texts would mean the same bytes. */
function decode(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  if (BASE64URL.test(text) && bytes.toString('base64url') === text) return bytes;
  throw new JweRefused('a part is not Base64url without padding');
}
