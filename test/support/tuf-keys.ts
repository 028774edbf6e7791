/**
 * Keys and signed envelopes of TUF repositories for tests.
 *
 * Canonical JSON and signatures are written anew here, on purpose: shared with the agent, they would
 * agree with whatever the agent does.
 */
import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from 'node:crypto';

import { mlDsaPair } from './build-metadata.ts';

export type Body = Readonly<Record<string, unknown>>;

export interface TufKey {
  readonly id: string;
  /** The entry in `keys`. */
  readonly entry: Body;
  /** Hex. */
  sign(payload: Uint8Array): string;
}

type Curve = 'p256' | 'p384';
const CURVES = {
  p256: { namedCurve: 'prime256v1', scheme: 'ecdsa-sha2-nistp256', hash: 'sha256' },
  p384: { namedCurve: 'secp384r1', scheme: 'ecdsa-sha2-nistp384', hash: 'sha384' },
} as const;

/** Names sorted by UTF-8 bytes, no white space; only `"` and `\` are escaped. */
export function olpc(value: unknown): string {
  if (typeof value === 'string') return `"${value.replace(/[\\"]/gu, (mark) => `\\${mark}`)}"`;
  if (Array.isArray(value)) return `[${value.map(olpc).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const bytes = (name: string): Buffer => Buffer.from(name, 'utf8');
  const names = Object.keys(value).sort((a, b) => Buffer.compare(bytes(a), bytes(b)));
  const fields = value as Record<string, unknown>;
  return `{${names.map((name) => `${olpc(name)}:${olpc(fields[name])}`).join(',')}}`;
}

export function ed25519Key({ publicKey, privateKey } = generateKeyPairSync('ed25519')): TufKey {
  const text = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('hex');
  return tufKey({ keytype: 'ed25519', scheme: 'ed25519', keyval: { public: text } }, (payload) =>
    sign(null, payload, privateKey),
  );
}

/** @param keytype - `ecdsa`, or the name of the scheme, which older repositories write */
export function ecdsaKey(curve: Curve = 'p256', keytype?: string): TufKey {
  const { namedCurve, scheme, hash } = CURVES[curve];
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve });
  const entry = { keytype: keytype ?? 'ecdsa', scheme, keyval: { public: pem(publicKey) } };
  return tufKey(entry, (payload) => sign(hash, payload, privateKey));
}

export function rsaKey(hash: 'sha256' | 'sha384' | 'sha512' = 'sha256', bits = 2048): TufKey {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  const entry = {
    keytype: 'rsa',
    scheme: `rsassa-pss-${hash}`,
    keyval: { public: pem(publicKey) },
  };
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
  return tufKey(entry, (payload) => sign(hash, payload, { key: privateKey, padding, saltLength }));
}

/** @param scheme - where it is not the one of this size */
export function mlDsaKey(size: 65 | 87 = 65, scheme = `ml-dsa-${String(size)}`): TufKey {
  const { publicKey, privateKey } = mlDsaPair(size);
  const entry = { keytype: 'ml-dsa', scheme, keyval: { public: pem(publicKey) } };
  return tufKey(entry, (payload) => sign(null, payload, privateKey));
}

/** A key on one curve that signs by the scheme of another. */
export function crossedKey(): TufKey {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
  const scheme = 'ecdsa-sha2-nistp256';
  const entry = { keytype: 'ecdsa', scheme, keyval: { public: pem(publicKey) } };
  return tufKey(entry, (payload) => sign('sha256', payload, privateKey));
}

/** The same P-256 key with its point compressed, which is another text for it. */
export function compressed(key: TufKey): TufKey {
  const { keyval } = key.entry as { keyval: { public: string } };
  const { x = '', y = '' } = createPublicKey(keyval.public).export({ format: 'jwk' });
  const [left, right] = [x, y].map((part) => Buffer.from(part, 'base64url'));
  const sign = (right?.at(-1) ?? 0) % 2 === 1 ? '03' : '02';
  const header = '3039301306072a8648ce3d020106082a8648ce3d030107032200';
  const der = Buffer.from(`${header}${sign}${left?.toString('hex') ?? ''}`, 'hex');
  const body = der.toString('base64').replace(/.{64}/gu, '$&\n');
  const text = `-----BEGIN PUBLIC KEY-----\n${body}\n-----END PUBLIC KEY-----\n`;
  return renamed(key, `${key.id} compressed`, { ...key.entry, keyval: { public: text } });
}

/** The same key under another id, or with another entry. */
export function renamed(key: TufKey, id: string, entry: Body = key.entry): TufKey {
  return { ...key, id, entry };
}

/** Signs `body` with every key. White space on the way is free: only the canonical form is signed. */
export function tufEnvelope(body: Body, keys: readonly TufKey[]): Uint8Array {
  const payload = Buffer.from(olpc(body));
  const signatures = keys.map((key) => ({ keyid: key.id, sig: key.sign(payload) }));
  return Buffer.from(JSON.stringify({ signatures, signed: body }, undefined, 1));
}

export function keysObject(keys: readonly TufKey[]): Body {
  return Object.fromEntries(keys.map(({ id, entry }) => [id, entry]));
}

function tufKey(entry: Body, signPayload: (payload: Uint8Array) => Buffer): TufKey {
  return {
    id: createHash('sha256').update(olpc(entry)).digest('hex'),
    entry,
    sign: (payload) => signPayload(payload).toString('hex'),
  };
}

function pem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}
