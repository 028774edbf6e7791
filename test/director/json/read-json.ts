/** Reads JSON that somebody sent: by name and type, once, and says where it was wrong. */
import { isMap, type Json } from './canonical-json.ts';
import { Refusal } from '../failure.ts';

/**
 * @throws Refusal 400 `json_malformed` for anything but JSON, and for a number beyond 2^53: two
 *   readers could disagree about it, so a signature over it means nothing
 */
export function parseJson(body: Uint8Array | string): Json {
  try {
    const text =
      typeof body === 'string' ? body : new TextDecoder('utf-8', { fatal: true }).decode(body);
    return JSON.parse(text, refuseInexact) as Json;
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    throw new Refusal(400, 'json_malformed', 'the body is not JSON in UTF-8', { cause });
  }
}

/** The members of one JSON object, with the path that led to it. */
export class JsonReader {
  readonly path: string;
  readonly #members: ReadonlyMap<string, Json>;

  constructor(value: Json | undefined, path = '$') {
    if (!isMap(value)) throw malformed(path, 'an object');
    this.path = path;
    this.#members = new Map(Object.entries(value));
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  raw(name: string): Json | undefined {
    return this.#members.get(name);
  }

  object(name: string): JsonReader {
    return new JsonReader(this.#members.get(name), this.#at(name));
  }

  /** @param maxLength - in UTF-16 units; the shortest is one */
  string(name: string, maxLength = 4096): string {
    const value = this.#members.get(name);
    if (typeof value !== 'string' || value.length < 1 || value.length > maxLength) {
      throw malformed(this.#at(name), `a string of 1 to ${String(maxLength)} characters`);
    }
    return value;
  }

  optionalString(name: string, maxLength?: number): string | undefined {
    return this.has(name) ? this.string(name, maxLength) : undefined;
  }

  integer(name: string, min = 0, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.#members.get(name);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      throw malformed(this.#at(name), `an integer from ${String(min)} to ${String(max)}`);
    }
    return value;
  }

  optionalInteger(name: string, min?: number, max?: number): number | undefined {
    return this.has(name) ? this.integer(name, min, max) : undefined;
  }

  optionalBoolean(name: string): boolean | undefined {
    const value = this.#members.get(name);
    if (value !== undefined && typeof value !== 'boolean')
      throw malformed(this.#at(name), 'a boolean');
    return value;
  }

  array(name: string): readonly Json[] {
    const value = this.#members.get(name);
    if (!Array.isArray(value)) throw malformed(this.#at(name), 'an array');
    return value as readonly Json[];
  }

  objects(name: string): readonly JsonReader[] {
    return this.array(name).map(
      (item, at) => new JsonReader(item, `${this.#at(name)}[${String(at)}]`),
    );
  }

  strings(name: string): readonly string[] {
    return this.array(name).map((item, at) => {
      if (typeof item !== 'string') throw malformed(`${this.#at(name)}[${String(at)}]`, 'a string');
      return item;
    });
  }

  names(): readonly string[] {
    return [...this.#members.keys()];
  }

  #at(name: string): string {
    return `${this.path}.${name}`;
  }
}

function malformed(path: string, want: string): Refusal {
  return new Refusal(400, 'json_malformed', `${path} must be ${want}`);
}

function refuseInexact(_name: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  if (!Number.isFinite(value) || Number.isInteger(value)) {
    throw new Refusal(400, 'json_malformed', 'a number is beyond 2^53');
  }
  return value;
}
