/** What PKCS#11 URIs (RFC 7512) mean: which token to use, and which object in it. */
import {
  parsePkcs11Uri,
  PKCS11_PREFIX,
  type PathAttribute,
  type Pkcs11Uri,
} from '../../config-pkcs11-uri.ts';

/** Which token to use. An absent field matches every token. */
export interface TokenUri {
  readonly token?: string | undefined;
  readonly serial?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly model?: string | undefined;
  readonly slotId?: number | undefined;
  readonly slotManufacturer?: string | undefined;
  readonly slotDescription?: string | undefined;
  readonly libraryManufacturer?: string | undefined;
  readonly libraryDescription?: string | undefined;
  /** `MAJOR.MINOR`; without a minor number every one is meant. */
  readonly libraryVersion?: string | undefined;
}

/** Which object to use. An absent field matches every object of the kind. */
export interface ObjectUri {
  readonly token: TokenUri;
  readonly label?: string | undefined;
  readonly id?: Buffer | undefined;
}

/**
 * Parses `token.uri`.
 *
 * @throws OtaError CONFIG_INVALID for anything but attributes of a token
 */
export function parseTokenUri(text: string): TokenUri {
  return tokenOf(parsePkcs11Uri(text, 'token', 'token.uri'));
}

/**
 * Parses the URI of an object.
 *
 * @param setting - where it is written
 * @throws OtaError CONFIG_INVALID
 */
export function parseObjectUri(
  text: string,
  use: 'private key' | 'certificate',
  setting: string,
): ObjectUri {
  const uri = parsePkcs11Uri(text, use, setting);
  return present({ token: tokenOf(uri), label: read(uri, 'object'), id: uri.path.get('id') });
}

/**
 * Writes a URI from attribute names and raw values.
 *
 * Every byte but the unreserved ones is percent-encoded, so any label and any id survives.
 */
export function formatPkcs11Uri(attributes: Readonly<Record<string, string | Uint8Array>>): string {
  const parts = Object.entries(attributes).map(([name, value]) => {
    const encoded = [...Buffer.from(value)].map(encodeByte);
    return `${name}=${encoded.join('')}`;
  });
  return `${PKCS11_PREFIX}${parts.join(';')}`;
}

function tokenOf(uri: Pkcs11Uri): TokenUri {
  const slotId = read(uri, 'slot-id');
  return present({
    token: read(uri, 'token'),
    serial: read(uri, 'serial'),
    manufacturer: read(uri, 'manufacturer'),
    model: read(uri, 'model'),
    slotId: slotId === undefined ? undefined : Number(slotId),
    slotManufacturer: read(uri, 'slot-manufacturer'),
    slotDescription: read(uri, 'slot-description'),
    libraryManufacturer: read(uri, 'library-manufacturer'),
    libraryDescription: read(uri, 'library-description'),
    libraryVersion: read(uri, 'library-version'),
  });
}

function read({ path }: Pkcs11Uri, name: PathAttribute): string | undefined {
  return path.get(name)?.toString();
}

/** Without the fields that say nothing. */
function present<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

function encodeByte(byte: number): string {
  const character = String.fromCharCode(byte);
  if (/[A-Za-z0-9\-._~]/u.test(character)) return character;
  return `%${byte.toString(16).padStart(2, '0').toUpperCase()}`;
}
