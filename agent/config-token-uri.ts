/** What token.uri says beside the token: the library and the file with the PIN. */
import { fileURLToPath } from 'node:url';

import type { Written } from './config-fragment.ts';
import { KEYS } from './config-keys.ts';
import { parsePkcs11Uri, PKCS11_PREFIX, type Pkcs11Uri } from './config-pkcs11-uri.ts';
import type { Origin } from './config-problem.ts';
import { causeOf, OtaError } from './errors.ts';

/**
 * Settings that token.uri makes: `token.module` of module-path, `token.pin_file` of pin-source.
 *
 * The URIs of objects may repeat both, as tools print them, but they cannot say anything else: there is
 * one library and one PIN.
 *
 * Source: RFC 7512 §2.4.
 *
 * @throws OtaError CONFIG_INVALID for another value in the same setting, or a pin-source that is no file
 */
export function applyTokenUri(values: Map<string, Written>, origins: Map<string, Origin>): void {
  for (const [key, use] of URIS) {
    const written = values.get(key);
    const origin = origins.get(key);
    if (origin === undefined || !isUri(written?.value)) continue;
    const uri = parsePkcs11Uri(written.value, use, key);
    for (const [name, setting] of MAKES) {
      const path = pathOf(uri, name, { key, origin });
      const spec = KEYS.get(setting);
      if (path === undefined || spec === undefined || path === values.get(setting)?.value) continue;
      if (key !== 'token.uri' || values.has(setting)) throw other({ key, origin }, name, setting);
      values.set(setting, { spec, value: path, line: origin.line });
      origins.set(setting, origin);
    }
  }
}

/** token.uri first: the others are held against it. */
const URIS = [
  ['token.uri', 'token'],
  ['gateway.ca', 'certificate'],
  ['identity.tls_key', 'private key'],
  ['identity.tls_certificate', 'certificate'],
  ['identity.uptane_key', 'private key'],
  ['provisioning.est_ca', 'certificate'],
] as const;

const MAKES = [
  ['module-path', 'token.module'],
  ['pin-source', 'token.pin_file'],
] as const;

function isUri(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith(PKCS11_PREFIX);
}

interface Place {
  readonly key: string;
  readonly origin: Origin;
}

function pathOf({ query }: Pkcs11Uri, name: string, place: Place): string | undefined {
  const value = query.get(name)?.toString('utf8');
  if (value === undefined) return undefined;
  if (name === 'pin-source' && value.startsWith('|')) {
    throw invalid(place, `${name} is a command: it could do anything with the PIN`, NAME_A_FILE);
  }
  const path = name === 'pin-source' && value.startsWith('file:') ? fromUrl(value, place) : value;
  if (path.startsWith('/') && !path.includes('\0')) return path;
  throw invalid(place, `${name} is not an absolute path`, NAME_A_FILE);
}

const NAME_A_FILE = 'name a file by its absolute path, such as pin-source=file:/etc/ota-agent/pin';

function fromUrl(value: string, place: Place): string {
  try {
    return fileURLToPath(value);
  } catch (cause) {
    throw invalid(place, `pin-source is no file of this machine (${causeOf(cause)})`, NAME_A_FILE);
  }
}

function other(place: Place, name: string, setting: string): OtaError<'CONFIG_INVALID'> {
  const remedy =
    place.key === 'token.uri'
      ? `remove ${name}, or set ${setting} to the same`
      : `remove it: ${setting} says it for all of them`;
  return invalid(place, `${name} is another than ${setting}`, remedy);
}

function invalid(
  { key, origin: { file, line } }: Place,
  problem: string,
  remedy: string,
): OtaError<'CONFIG_INVALID'> {
  return new OtaError('CONFIG_INVALID', { file, line, key, problem, remedy });
}
