/**
 * Objects and arrays of a JSON text that are read only where somebody asks.
 *
 * A text of millions of values costs a few numbers for each member of the objects that are looked
 * into, and nothing for the rest. The text has passed `canonicalText`, so nothing is checked again.
 */
import { endOfString, isDigit, JSON_BYTE as BYTE } from './json-bytes.ts';

export type JsonView = null | boolean | number | string | ArrayView | ObjectView;

/** Members in document order; safe for names such as `__proto__` and `10`. */
export class ObjectView implements Iterable<[string, JsonView]> {
  readonly #text: Buffer;
  readonly #at: number;
  /** Where name and value of each member are; `undefined` until somebody looks. */
  #index: readonly number[] | undefined;

  /** @param at - where its `{` is */
  constructor(text: Buffer, at: number) {
    this.#text = text;
    this.#at = at;
  }

  get size(): number {
    return this.#members.length / 2;
  }

  get(name: string): JsonView | undefined {
    const at = this.#valueOf(name);
    return at === undefined ? undefined : viewAt(this.#text, at);
  }

  /** The bytes of a member's value. */
  textOf(name: string): Uint8Array | undefined {
    const at = this.#valueOf(name);
    return at === undefined ? undefined : this.#text.subarray(at, endOfValue(this.#text, at));
  }

  *[Symbol.iterator](): Generator<[string, JsonView]> {
    const members = this.#members;
    for (let i = 0; i < members.length; i += 2) {
      const name = stringAt(this.#text, members[i] ?? 0);
      yield [name, viewAt(this.#text, members[i + 1] ?? 0)];
    }
  }

  #valueOf(name: string): number | undefined {
    const members = this.#members;
    const wanted = Buffer.from(name);
    for (let i = 0; i < members.length; i += 2) {
      if (isName(this.#text, members[i] ?? 0, wanted)) return members[i + 1];
    }
    return undefined;
  }

  get #members(): readonly number[] {
    this.#index ??= index(this.#text, this.#at);
    return this.#index;
  }
}

export class ArrayView implements Iterable<JsonView> {
  readonly #text: Buffer;
  readonly #at: number;

  /** @param at - where its `[` is */
  constructor(text: Buffer, at: number) {
    this.#text = text;
    this.#at = at;
  }

  get length(): number {
    let length = 0;
    for (let at = this.#first(); at !== undefined; at = this.#next(at)) length += 1;
    return length;
  }

  *[Symbol.iterator](): Generator<JsonView> {
    for (let at = this.#first(); at !== undefined; at = this.#next(at)) {
      yield viewAt(this.#text, at);
    }
  }

  #first(): number | undefined {
    const at = skipSpace(this.#text, this.#at + 1);
    return this.#text[at] === BYTE.closeArray ? undefined : at;
  }

  #next(at: number): number | undefined {
    const mark = skipSpace(this.#text, endOfValue(this.#text, at));
    return this.#text[mark] === BYTE.comma ? skipSpace(this.#text, mark + 1) : undefined;
  }
}

/** @param text - has passed `canonicalText` */
export function view(text: Uint8Array): JsonView {
  const buffer = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  return viewAt(buffer, skipSpace(buffer, 0));
}

function viewAt(text: Buffer, at: number): JsonView {
  switch (text[at]) {
    case BYTE.openObject:
      return new ObjectView(text, at);
    case BYTE.openArray:
      return new ArrayView(text, at);
    case BYTE.quote:
      return stringAt(text, at);
    default:
      return JSON.parse(text.toString('utf8', at, endOfValue(text, at))) as number | boolean | null;
  }
}

function index(text: Buffer, open: number): readonly number[] {
  const members: number[] = [];
  let name = skipSpace(text, open + 1);
  if (text[name] === BYTE.closeObject) return members;
  for (;;) {
    const value = skipSpace(text, skipSpace(text, endOfString(text, name)) + 1);
    members.push(name, value);
    const mark = skipSpace(text, endOfValue(text, value));
    if (text[mark] !== BYTE.comma) return members;
    name = skipSpace(text, mark + 1);
  }
}

/** Is it this name, in whatever escapes it is written? */
function isName(text: Buffer, at: number, wanted: Buffer): boolean {
  for (let i = 0; i < wanted.length; i += 1) {
    const byte = text[at + 1 + i];
    if (byte === BYTE.backslash) return Buffer.from(stringAt(text, at)).equals(wanted);
    // A quote ends the name, whatever is wanted after it.
    if (byte !== wanted[i] || byte === BYTE.quote) return false;
  }
  return text[at + 1 + wanted.length] === BYTE.quote;
}

function stringAt(text: Buffer, at: number): string {
  const quoted = text.toString('utf8', at, endOfString(text, at));
  return quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
}

/** The byte after the value that starts at `at`. */
function endOfValue(text: Buffer, at: number): number {
  const first = text[at];
  if (first === BYTE.quote) return endOfString(text, at);
  if (first === BYTE.openObject || first === BYTE.openArray) return endOfContainer(text, at);
  let end = at;
  while (isWordByte(text[end])) end += 1;
  return end;
}

function endOfContainer(text: Buffer, open: number): number {
  let depth = 0;
  for (let at = open; ;) {
    const byte = text[at];
    if (byte === BYTE.quote) {
      at = endOfString(text, at);
      continue;
    }
    at += 1;
    if (byte === BYTE.openObject || byte === BYTE.openArray) depth += 1;
    else if (byte === BYTE.closeObject || byte === BYTE.closeArray) depth -= 1;
    if (depth === 0 || byte === undefined) return at;
  }
}

/** Of a number or a literal. */
function isWordByte(byte: number | undefined): boolean {
  return (
    byte === BYTE.minus || isDigit(byte) || (byte !== undefined && byte >= 0x61 && byte <= 0x7a)
  );
}

function skipSpace(text: Buffer, from: number): number {
  let at = from;
  while ((text[at] ?? 0xff) <= BYTE.space) at += 1;
  return at;
}
