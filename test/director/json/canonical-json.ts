/**
 * The field's canonical JSON: names sorted by bytes, no white space, standard string escapes.
 *
 * It is not the OLPC form of the TUF specification: a newline in a PEM key stays `\n`. Written here
 * from scratch, because a mistake shared with the client would be invisible to every test.
 */

export type Json = null | boolean | number | string | readonly Json[] | JsonMap;
export interface JsonMap {
  readonly [name: string]: Json;
}

/**
 * The bytes that are signed, as text. Non-ASCII characters stay as they are.
 *
 * @throws RangeError for a number that JSON cannot carry exactly
 */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (isMap(value)) {
    const members = Object.entries(value)
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  if (typeof value === 'number') return canonicalNumber(value);
  return JSON.stringify(value);
}

/** The same, with every UTF-16 unit beyond ASCII as `\uXXXX`: what aktualizr signs. */
export function escapedCanonicalJson(value: Json): string {
  // Without the u flag: a character beyond the BMP is escaped as the two units it consists of.
  return canonicalJson(value).replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function isMap(value: Json | undefined): value is JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function canonicalNumber(value: number): string {
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) {
    throw new RangeError(`${String(value)} has no exact JSON form`);
  }
  return JSON.stringify(value);
}
