/** Which key types a token can do, asked of the token itself before anything depends on one. */
import { OtaError } from '../../errors.ts';
import { CKM } from './cryptoki.ts';
import {
  KEY_TYPES,
  TLS_KEY_TYPES,
  UPTANE_KEY_TYPES,
  type KeyType,
  type TlsKeyType,
  type UptaneKeyType,
} from './key-types.ts';
import type { NamedObjects } from './named-objects.ts';
import { signingMechanisms } from './sign.ts';
import { mechanismName, type Token } from './token.ts';

/** The part of the `identity` section that says what keys there are to be. */
export interface WantedKeyTypes {
  readonly tls_key_type: TlsKeyType;
  readonly uptane_key_type: UptaneKeyType;
}

type Use = 'tls' | 'uptane';

const USES = {
  tls: { setting: 'identity.tls_key_type', choices: TLS_KEY_TYPES },
  uptane: { setting: 'identity.uptane_key_type', choices: UPTANE_KEY_TYPES },
} as const;

/**
 * Refuses settings that ask for keys which this token cannot make or cannot use.
 *
 * @param named - keys that others have made, of any type: none is made in their place
 * @throws OtaError TOKEN_MECHANISM with what is missing, and the choices that would work
 */
export function reviewKeyTypes(
  token: Token,
  wanted: WantedKeyTypes,
  named: NamedObjects = {},
): void {
  if (named.tls_key === undefined) demand(token, 'tls', wanted.tls_key_type);
  if (named.uptane_key === undefined) demand(token, 'uptane', wanted.uptane_key_type);
}

/** The choices of `identity.tls_key_type` or `identity.uptane_key_type` that this token can do. */
export function supportedKeyTypes(token: Token, use: Use): readonly KeyType[] {
  return USES[use].choices.filter((type) => missing(token, use, type) === undefined);
}

/** The error for a key type that the token turned down although it names the mechanism. */
export function unsupported(
  token: Token,
  type: KeyType,
  mechanism: string,
  cause?: OtaError,
): OtaError<'TOKEN_MECHANISM'> {
  const supported = (Object.keys(KEY_TYPES) as KeyType[])
    .filter((one) => one !== type && missing(token, 'uptane', one) === undefined)
    .join(', ');
  const details = { mechanism, offered: token.offeredMechanisms(), supported };
  return new OtaError('TOKEN_MECHANISM', details, cause && { cause });
}

function demand(token: Token, use: Use, type: KeyType): void {
  const lacking = missing(token, use, type);
  if (lacking === undefined) return;
  const { setting } = USES[use];
  throw new OtaError('TOKEN_MECHANISM', {
    mechanism: `${lacking} for ${setting} = "${type}"`,
    offered: token.offeredMechanisms(),
    supported: supportedKeyTypes(token, use).join(', ') || 'none',
  });
}

/** The first mechanism that is missing, or too small. */
function missing(token: Token, use: Use, type: KeyType): string | undefined {
  const { generation, sizeBits } = KEY_TYPES[type];
  const needs = [[generation], ...signing(use, type)];
  const lacking = needs.find((ways) => !ways.some((way) => fits(token, way, sizeBits)));
  if (lacking === undefined) return undefined;
  return `${lacking.map(mechanismName).join(' or ')} (${String(sizeBits)} bit)`;
}

/**
 * All of these are needed, one of each list.
 *
 * TLS signs digests that OpenSSL has made: with bare ECDSA; with RSASSA-PKCS1-v1_5 in TLS 1.2, and with
 * RSASSA-PSS in TLS 1.3, which libp11 can also pad by itself.
 */
function signing(use: Use, type: KeyType): (readonly number[])[] {
  const row = KEY_TYPES[type];
  if (use === 'uptane') return [signingMechanisms(row.manifest)];
  const handshake = type.startsWith('ec-')
    ? [[CKM.ECDSA]]
    : [[CKM.RSA_PKCS], [CKM.RSA_PKCS_PSS, CKM.RSA_X_509]];
  return [signingMechanisms(row.request), ...handshake];
}

/** OP-TEE says 0 to 0 where it has no limits of its own; Ed25519 keys count as 255 bits or as 256. */
function fits(token: Token, mechanism: number, sizeBits: number): boolean {
  const sizes = token.keySizes(mechanism);
  if (sizes === undefined) return false;
  const { minBits, maxBits } = sizes;
  return maxBits === 0 || (minBits <= sizeBits && sizeBits <= maxBits + 1);
}
