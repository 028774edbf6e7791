/** Values of options: what is right, and what is said where it is not. */
import { causeOf, OtaError } from '../../errors.ts';
import type { Ecu } from '../../uptane/inventory.ts';
import { verifyEcuSerial, verifyHardwareId } from '../../uptane/names.ts';
import { parseInstant, type Instant } from '../../uptane/time.ts';

const REMEDY = 'ota-agent verify --help';
const ISO = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?$/u;
const URL_START = /^[a-z][a-z0-9+.-]*:\/\//iu;

export function isUrl(source: string): boolean {
  return URL_START.test(source);
}

/** A URL is a base that names are appended to, and is printed: no query, and no password. */
export function readSource(option: string, source: string): string {
  if (!isUrl(source)) return source;
  const url = URL.canParse(source) ? new URL(source) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw usage(`${option} is a directory, or a URL that starts with http:// or https://`);
  }
  if ([url.username, url.password, url.search, url.hash].some((part) => part !== '')) {
    throw usage(`${option} takes a URL without user name, password, query and fragment`);
  }
  return url.href;
}

export function readTime(text: string): Instant {
  if (!ISO.test(text) || Number.isNaN(Date.parse(text))) {
    throw usage(`--time is not an ISO 8601 instant: ${text}`);
  }
  return parseInstant(new Date(text).toISOString(), '--time');
}

export function readNumber(
  option: string,
  text: string | undefined,
  { min, max }: { min: number; max: number },
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,5}$/u.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw usage(`${option} is a whole number from ${String(min)} to ${String(max)}, not ${text}`);
}

export function readEcus(
  serials: readonly string[],
  hardwareIds: readonly string[],
): readonly Ecu[] {
  if (serials.length === 0 || serials.length !== hardwareIds.length) {
    throw usage('--ecu SERIAL and --hardware-id ID are needed, in pairs');
  }
  if (new Set(serials).size !== serials.length) throw usage('the same --ecu is named twice');
  return serials.map((serial, index) => {
    const hardwareId = hardwareIds[index] ?? '';
    try {
      verifyEcuSerial(serial, '--ecu');
      verifyHardwareId(hardwareId, '--hardware-id');
    } catch (cause) {
      throw usage(causeOf(cause), cause);
    }
    return { serial, hardwareId };
  });
}

export function usage(what: string, cause?: unknown): OtaError<'USAGE'> {
  return new OtaError('USAGE', { what, remedy: REMEDY }, { cause });
}
