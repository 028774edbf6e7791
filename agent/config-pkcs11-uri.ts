/**
 * PKCS#11 URIs (RFC 7512) as they are written: which attributes there are, and their raw values.
 *
 * Strict: an attribute that is ignored chooses another token or key than the one that was meant. No
 * message repeats a value: what was mistyped may be a PIN.
 */
import { OtaError } from './errors.ts';

/** What a URI in the settings stands for; each takes other attributes. */
export type UriUse = 'token' | 'private key' | 'certificate';

/** Decoded values by attribute name; an `id` is bytes, everything else is UTF-8. */
export interface Pkcs11Uri {
  readonly path: ReadonlyMap<string, Buffer>;
  readonly query: ReadonlyMap<string, Buffer>;
}

export const PKCS11_PREFIX = 'pkcs11:';

const OF_TOKENS = [
  'token',
  'serial',
  'manufacturer',
  'model',
  'library-manufacturer',
  'library-description',
  'library-version',
  'slot-manufacturer',
  'slot-description',
  'slot-id',
] as const;
const OF_OBJECTS = ['object', 'id', 'type'] as const;
export type PathAttribute = (typeof OF_TOKENS)[number] | (typeof OF_OBJECTS)[number];

/** RFC 7512 §2.3: pk11-pchar without percent signs; §2.4: pk11-qchar has three characters more. */
const PATH_VALUE = /^[A-Za-z0-9\-._~:[\]@!$'()*+,=&]$/u;
const QUERY_VALUE = /^[A-Za-z0-9\-._~:[\]@!$'()*+,=/?|]$/u;
const ESCAPE = /^%[0-9A-Fa-f]{2}$/u;
const NAME = /^[A-Za-z0-9\-_]+$/u;

/** What a value has to look like beyond its characters, once decoded. */
const FORMS: Readonly<Partial<Record<string, readonly [RegExp, string]>>> = {
  'library-version': [/^\d{1,3}(\.\d{1,3})?$/u, 'a version such as 2 or 2.40'],
  // 64-bit numbers are legal, but nothing that counts slots reaches 2^53.
  'slot-id': [/^\d{1,15}$/u, 'a decimal number'],
};
const TYPES: Readonly<Record<UriUse, string>> = {
  token: '',
  'private key': 'private',
  certificate: 'cert',
};

/**
 * Reads a URI that stands for a token, a key or a certificate.
 *
 * Unknown path attributes are refused, as an error is what RFC 7512 asks of them; unknown query
 * attributes are ignored, as it asks, unless they look like a PIN.
 *
 * Source: RFC 7512 §2.3, §2.4, §2.5.
 *
 * @param key - the setting, for the message
 * @throws OtaError CONFIG_INVALID with the place in the URI, counted from 1
 */
export function parsePkcs11Uri(text: string, use: UriUse, key: string): Pkcs11Uri {
  const refuse: Refuse = (at, problem, remedy = EXAMPLES[use]) =>
    new OtaError('CONFIG_INVALID', {
      file: 'settings',
      line: 0,
      key,
      problem: `character ${String(at + 1)}: ${problem}`,
      remedy,
    });
  if (!text.startsWith(PKCS11_PREFIX)) throw refuse(0, 'it does not start with "pkcs11:"');
  const mark = text.indexOf('?');
  const end = mark === -1 ? text.length : mark;
  const path = new Map<string, Buffer>();
  const query = new Map<string, Buffer>();
  for (const part of split(text, [PKCS11_PREFIX.length, end], ';')) {
    const { name, value } = readAttribute(part, PATH_VALUE, refuse);
    demandPath(part, name, use, refuse);
    demandForm(part, name, value, refuse);
    if (name === 'type' && value.toString() !== TYPES[use]) {
      throw refuse(part.at, `type is not "${TYPES[use]}", which a ${use} has`);
    }
    if (path.has(name)) throw refuse(part.at, `attribute ${name} is there twice`);
    path.set(name, value);
  }
  for (const part of split(text, [end + 1, text.length], '&')) {
    const { name, value } = readAttribute(part, QUERY_VALUE, refuse);
    demandQuery(part, name, refuse);
    demandForm(part, name, value, refuse);
    if (query.has(name)) throw refuse(part.at, `attribute ${name} is there twice`);
    query.set(name, value);
  }
  return { path, query };
}

type Refuse = (at: number, problem: string, remedy?: string) => OtaError<'CONFIG_INVALID'>;

const EXAMPLES: Readonly<Record<UriUse, string>> = {
  token: 'write it as pkcs11:token=LABEL',
  'private key': 'write it as pkcs11:object=LABEL;id=%02',
  certificate: 'write it as pkcs11:object=LABEL;id=%02',
};

interface Part {
  readonly text: string;
  /** Where it begins in the URI, from 0. */
  readonly at: number;
}

/** Nothing between the two ends is no part; an empty one among others is. */
function split(text: string, [from, to]: readonly [number, number], separator: string): Part[] {
  if (from >= to) return [];
  let at = from;
  return text
    .slice(from, to)
    .split(separator)
    .map((part) => {
      const placed = { text: part, at };
      at += part.length + separator.length;
      return placed;
    });
}

function readAttribute(
  { text, at }: Part,
  permitted: RegExp,
  refuse: Refuse,
): { name: string; value: Buffer } {
  const equals = text.indexOf('=');
  const name = text.slice(0, Math.max(equals, 0));
  if (!NAME.test(name)) throw refuse(at, 'an attribute without a name and "="');
  const bytes: number[] = [];
  for (let index = equals + 1; index < text.length; index += 1) {
    const escape = text.slice(index, index + 3);
    const character = text.charAt(index);
    if (ESCAPE.test(escape)) {
      bytes.push(Number.parseInt(escape.slice(1), 16));
      index += 2;
    } else if (permitted.test(character)) {
      bytes.push(character.charCodeAt(0));
    } else {
      const problem =
        character === '%' ? 'a "%" without two hexadecimal digits' : 'a character that needs "%"';
      throw refuse(at + index, `${problem}, in the value of ${name}`);
    }
  }
  return { name, value: Buffer.from(bytes) };
}

function demandPath({ at }: Part, name: string, use: UriUse, refuse: Refuse): void {
  const tokens: readonly string[] = OF_TOKENS;
  const objects: readonly string[] = OF_OBJECTS;
  if (tokens.includes(name) || (use !== 'token' && objects.includes(name))) return;
  if (objects.includes(name)) {
    const remedy = 'name keys and certificates in identity.tls_key and its neighbours';
    throw refuse(at, `attribute ${name} is of an object, and this names a token`, remedy);
  }
  const known = use === 'token' ? tokens : [...tokens, ...objects];
  throw refuse(at, `attribute ${JSON.stringify(name)} is not known`, `use ${known.join(', ')}`);
}

function demandForm({ at }: Part, name: string, value: Buffer, refuse: Refuse): void {
  if (name === 'id') return;
  if (!isText(value)) throw refuse(at, `the value of ${name} is not UTF-8`);
  const [form, wanted] = FORMS[name] ?? [/^/u, ''];
  if (!form.test(value.toString())) throw refuse(at, `${name} is not ${wanted}`);
}

const REFUSED_QUERIES: Readonly<Partial<Record<string, readonly [string, string]>>> = {
  'pin-value': [
    'a PIN in the configuration is shown to whoever reads it',
    'remove it; name a file in pin-source or token.pin_file, or use the systemd credential "pin"',
  ],
  'module-name': [
    'a name means another library wherever the module lists of p11-kit differ',
    'name the file in module-path or token.module',
  ],
};

function demandQuery({ at }: Part, name: string, refuse: Refuse): void {
  const [problem, remedy] = REFUSED_QUERIES[name] ?? [];
  if (problem !== undefined) throw refuse(at, `${name} is not taken: ${problem}`, remedy);
  if (!name.toLowerCase().startsWith('pin') || name === 'pin-source') return;
  throw refuse(at, 'an attribute of a PIN that is not known', 'use pin-source, or token.pin_file');
}

function isText(value: Buffer): boolean {
  return Buffer.from(value.toString('utf8')).equals(value);
}
