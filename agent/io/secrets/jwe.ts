/**
 * Opens what was encrypted to this device: compact JWE with A256GCM, and ECDH-ES on P-256 or RSA-OAEP.
 *
 * The private key stays in its token, which agrees or decrypts; the rest is done here.
 *
 * Source: RFC 7516 §5.2; RFC 7518 §4.3, §4.6 and §5.3.
 */
import { createDecipheriv, createHash, createPublicKey, randomBytes } from 'node:crypto';

import { Fields, parseJson } from '../../decode.ts';

/** Both keys' shared secret: the x coordinate, 32 bytes. The point is uncompressed and on the curve. */
type Agree = (point: Uint8Array) => Uint8Array;

/** @returns `undefined` when it was not encrypted to the key of the token */
type Decrypt = (ciphertext: Uint8Array) => Uint8Array | undefined;

/** What the token can do with its key, by the `alg` that it is good for. */
export type Recipient =
  | { readonly alg: 'ECDH-ES'; readonly agree: Agree }
  | { readonly alg: 'RSA-OAEP'; readonly decrypt: Decrypt };

/** Public members of the key, as RFC 7638 wants them: exactly those that make its thumbprint. */
export type PublicJwk =
  | { readonly crv: 'P-256'; readonly kty: 'EC'; readonly x: string; readonly y: string }
  | { readonly e: string; readonly kty: 'RSA'; readonly n: string };

export interface OpenedJwe {
  /** The protected header: what the sender said beside the content, authenticated with it. */
  readonly header: Fields;
  readonly content: Buffer;
}

/** Says why; the caller says of what. */
export class JweRefused extends Error {
  override readonly name = 'JweRefused';
}

const ENCRYPTION = 'A256GCM';
/** They decide what the other members mean: a header with more of them is of another profile. */
const REFUSED_MEMBERS = ['crit', 'zip'] as const;
const KEY_BITS = 256;
const KEY_BYTES = KEY_BITS / 8;
const COORDINATE_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const BASE64URL = /^[A-Za-z0-9_-]*$/u;

/**
 * @param text - `HEADER..IV.CIPHERTEXT.TAG`; the caller has bounded its length
 * @throws JweRefused
 */
export function openJwe(text: string, recipient: Recipient): OpenedJwe {
  const [protectedText = '', ...rest] = text.split('.');
  if (rest.length !== 4) throw new JweRefused('it is not compact JWE: five parts between dots');
  const [wrapped, iv, ciphertext, tag] = rest.map(decode) as [Buffer, Buffer, Buffer, Buffer];
  if (iv.byteLength !== IV_BYTES)
    throw new JweRefused(`the IV must have ${String(IV_BYTES)} bytes`);
  if (tag.byteLength !== TAG_BYTES) {
    throw new JweRefused(`the tag must have ${String(TAG_BYTES)} bytes`);
  }
  const header = readHeader(protectedText, recipient.alg);
  const key = contentKey(header, wrapped, recipient);
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

/** An RFC 7638 thumbprint, Base64url: the `kid` by which senders name the key. */
export function thumbprint(jwk: PublicJwk): string {
  const members = Object.entries(jwk).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify(Object.fromEntries(members));
  return createHash('sha256').update(text).digest('base64url');
}

function contentKey(header: Fields, wrapped: Buffer, recipient: Recipient): Uint8Array {
  if (recipient.alg === 'ECDH-ES') {
    if (wrapped.byteLength > 0) throw new JweRefused('ECDH-ES has no encrypted key');
    return deriveKey(recipient.agree(readPoint(header.object('epk'))), header);
  }
  const key = recipient.decrypt(wrapped);
  // RFC 7516 §11.5: who sends what does not decrypt learns no more than that it did not open.
  return key?.byteLength === KEY_BYTES ? key : randomBytes(KEY_BYTES);
}

function readHeader(text: string, alg: Recipient['alg']): Fields {
  let header: Fields;
  try {
    header = new Fields(parseJson(decode(text), 'header'), 'header');
  } catch (cause) {
    if (cause instanceof JweRefused) throw cause;
    throw new JweRefused('its header is not a JSON object', { cause });
  }
  const named = (name: string): string => (header.has(name) ? header.string(name) : 'none');
  if (named('alg') !== alg) throw new JweRefused(`its alg is ${named('alg')}, want ${alg}`);
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
