/**
 * Builds signed repositories for tests.
 *
 * The canonical JSON is written anew here, on purpose: one shared with the agent would agree with
 * whatever the agent does.
 */
import { createHash, generateKeyPairSync, sign, constants, type KeyObject } from 'node:crypto';

export type Role = 'root' | 'timestamp' | 'snapshot' | 'targets';
export type Body = Readonly<Record<string, unknown>>;

export interface Key {
  readonly id: string;
  readonly keytype: string;
  /** As it stands in `keyval.public`. */
  readonly text: string;
  readonly method: string;
  /** Base64. */
  sign(payload: Uint8Array): string;
}

export const FUTURE = '2037-12-31T23:59:59Z';
export const PAST = '2017-01-01T00:00:00Z';

/** Members sorted by UTF-8 bytes, no white space, JSON escapes. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const bytes = (name: string): Buffer => Buffer.from(name, 'utf8');
  const names = Object.keys(value).sort((a, b) => Buffer.compare(bytes(a), bytes(b)));
  const fields = value as Record<string, unknown>;
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(fields[name])}`).join(',')}}`;
}

export function ed25519({ publicKey, privateKey } = generateKeyPairSync('ed25519')): Key {
  const text = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('hex');
  return {
    id: createHash('sha256').update(text).digest('hex'),
    keytype: 'ED25519',
    text,
    method: 'ed25519',
    sign: (payload) => sign(null, payload, privateKey).toString('base64'),
  };
}

export function rsa(bits = 2048, saltLength = 32): Key {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  return {
    id: createHash('sha256').update(pem(publicKey)).digest('hex'),
    keytype: 'RSA',
    text: pem(publicKey),
    method: 'rsassa-pss',
    sign: (payload) => {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      return sign('sha256', payload, { key: privateKey, padding, saltLength }).toString('base64');
    },
  };
}

export function mlDsa(size: 65 | 87 = 65): Key {
  const { publicKey, privateKey } = mlDsaPair(size);
  return {
    id: createHash('sha256').update(pem(publicKey)).digest('hex'),
    keytype: `ML-DSA-${String(size)}`,
    text: pem(publicKey),
    method: `ml-dsa-${String(size)}`,
    sign: (payload) => sign(null, payload, privateKey).toString('base64'),
  };
}

/** Types know one size per call only. */
export function mlDsaPair(size: 65 | 87): { publicKey: KeyObject; privateKey: KeyObject } {
  return size === 65 ? generateKeyPairSync('ml-dsa-65') : generateKeyPairSync('ml-dsa-87');
}

/** Signs `body` with every key. */
export function envelope(body: Body, keys: readonly Key[]): Uint8Array {
  const payload = Buffer.from(canonical(body));
  const signatures = keys.map((key) => ({
    keyid: key.id,
    method: key.method,
    sig: key.sign(payload),
  }));
  return Buffer.from(canonical({ signatures, signed: body }));
}

export function hashesOf(content: Uint8Array | string): { sha256: string; sha512: string } {
  return {
    sha256: createHash('sha256').update(content).digest('hex'),
    sha512: createHash('sha512').update(content).digest('hex'),
  };
}

/** A target's `length` and `hashes`. */
export function fileInfo(content: string): { length: number; hashes: Body } {
  return { length: Buffer.byteLength(content), hashes: hashesOf(content) };
}

/** A `keys` object. */
export function keysObject(keys: readonly Key[]): Body {
  return Object.fromEntries(
    keys.map(({ id, keytype, text }) => [id, { keytype, keyval: { public: text } }]),
  );
}

/** One entry of `delegations.roles`, with its keys beside it. */
export interface DelegationSpec extends RoleSpec, ScopeSpec {}

/** One entry for several roles, of which some number has to agree. */
export interface MultiRoleSpec extends ScopeSpec {
  readonly roles: readonly RoleSpec[];
  readonly min_roles_in_agreement: number;
}

export interface RoleSpec {
  readonly name: string;
  readonly keys: readonly Key[];
  readonly threshold?: number;
}

interface ScopeSpec {
  readonly paths?: readonly string[];
  readonly path_hash_prefixes?: readonly string[];
  readonly terminating?: boolean;
  readonly hardwareIds?: readonly string[];
}

export function delegationsObject(specs: readonly (DelegationSpec | MultiRoleSpec)[]): Body {
  const roles = specs.flatMap((spec) => ('roles' in spec ? spec.roles : [spec]));
  return {
    keys: keysObject(roles.flatMap(({ keys }) => keys)),
    roles: specs.map((spec) => ({
      terminating: false,
      ...('roles' in spec ? { ...spec, roles: spec.roles.map(roleObject) } : roleObject(spec)),
    })),
  };
}

function roleObject({ keys, ...role }: RoleSpec): Body {
  return { threshold: 1, ...role, keyids: keys.map(({ id }) => id) };
}

/** A delegated Targets file. */
export interface DelegatedFile {
  keys: readonly Key[];
  version: number;
  expires: string;
  targets: Record<string, Body>;
  delegations: readonly (DelegationSpec | MultiRoleSpec)[];
}

function pem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}
