/**
 * PKCS#11 URIs (RFC 7512), as far as they choose a token or name one object in it.
 *
 * Strict: an attribute that is ignored chooses another token than the one that was meant.
 */
import { OtaError } from '../../errors.ts';

/** Which token to use. An absent field matches every token. */
export interface TokenUri {
  readonly token?: string | undefined;
  readonly serial?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly model?: string | undefined;
  readonly slotId?: number | undefined;
}

const PREFIX = 'pkcs11:';
/** Path attribute of RFC 7512 §2.3: pk11-pchar without the percent signs, which are decoded below. */
const VALUE = /^(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*$/u;
const TEXT_ATTRIBUTES = new Set(['token', 'serial', 'manufacturer', 'model']);
/** 64-bit identifiers are legal, but nothing that counts slots reaches 2^53. */
const SLOT_ID = /^\d{1,15}$/u;

/**
 * Parses `token.uri`.
 *
 * A PIN in the URI is refused without repeating it: settings are shown to people and to servers.
 *
 * Source: RFC 7512 §2.3; §2.4 for the query attributes that are refused.
 *
 * @throws OtaError CONFIG_INVALID for anything but token, serial, manufacturer, model and slot-id
 */
export function parseTokenUri(text: string): TokenUri {
  if (!text.startsWith(PREFIX)) throw invalid('it does not start with "pkcs11:"');
  const [path = '', query] = text.slice(PREFIX.length).split('?', 2);
  if (query !== undefined) {
    throw invalid('it has query attributes', 'remove "?"; the PIN belongs into token.pin_file');
  }
  const attributes = new Map<string, string>();
  for (const part of path === '' ? [] : path.split(';')) {
    const [name, value] = parseAttribute(part);
    if (attributes.has(name)) throw invalid(`it has attribute ${name} twice`);
    attributes.set(name, value);
  }
  return { ...Object.fromEntries(texts(attributes)), ...slot(attributes.get('slot-id')) };
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
  return `${PREFIX}${parts.join(';')}`;
}

function parseAttribute(part: string): [string, string] {
  const equals = part.indexOf('=');
  const name = part.slice(0, Math.max(equals, 0));
  const value = part.slice(equals + 1);
  if (equals < 1) throw invalid('it has an attribute without a name and "="');
  if (!TEXT_ATTRIBUTES.has(name) && name !== 'slot-id') {
    throw invalid(
      `attribute ${JSON.stringify(name)} is not supported`,
      'use token, serial, manufacturer, model or slot-id',
    );
  }
  if (!VALUE.test(value)) throw invalid(`the value of ${name} has a character that needs "%"`);
  return [name, decode(name, value)];
}

function decode(name: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw invalid(`the value of ${name} is not UTF-8`);
  }
}

function texts(attributes: ReadonlyMap<string, string>): [string, string][] {
  return [...attributes].filter(([name]) => TEXT_ATTRIBUTES.has(name));
}

function slot(value: string | undefined): { slotId?: number } {
  if (value === undefined) return {};
  if (!SLOT_ID.test(value)) throw invalid('slot-id is not a decimal number');
  return { slotId: Number(value) };
}

function encodeByte(byte: number): string {
  const character = String.fromCharCode(byte);
  if (/[A-Za-z0-9\-._~]/u.test(character)) return character;
  return `%${byte.toString(16).padStart(2, '0').toUpperCase()}`;
}

function invalid(
  problem: string,
  remedy = 'write it as pkcs11:token=LABEL',
): OtaError<'CONFIG_INVALID'> {
  return new OtaError('CONFIG_INVALID', {
    file: 'settings',
    line: 0,
    key: 'token.uri',
    problem,
    remedy,
  });
}
