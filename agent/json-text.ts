/**
 * Reads every byte of a JSON text once, and writes down its canonical form on the way.
 *
 * No value is built here: what a hostile text costs is its own length once more, whatever is in it.
 * `json-view.ts` reads values out of a text that has passed.
 */
import { isUtf8 } from 'node:buffer';

import { OtaError } from './errors.ts';
import { compareNames, JSON_BYTE as BYTE, hexDigit, isDigit, writeUtf8 } from './json-bytes.ts';

const MAX_DEPTH = 64;
/** An object may have this many members; beyond, each needs some bytes on average, as metadata has. */
const MAX_SMALL_MEMBERS = 1024;
const MIN_BYTES_PER_MEMBER = 16;
/** What may follow the digits of a number that is no integer: `.`, `E`, `e`. */
const FRACTION = [0x2e, 0x45, 0x65];

const LITERALS = ['true', 'false', 'null'].map((word) => Buffer.from(word));
/** What follows a backslash, and the byte that is meant. */
const ESCAPES: ReadonlyMap<number, number> = new Map([
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);
/** The short escapes that `JSON.stringify` writes, by what they mean. */
const SHORT: ReadonlyMap<number, number> = new Map(
  [...ESCAPES].filter(([, meant]) => meant !== 0x2f).map(([letter, meant]) => [meant, letter]),
);

/**
 * Checks a JSON text of which two readers can only make the same value.
 *
 * Signed documents are re-serialised before their signature is checked, so everything that parsers
 * are known to disagree on is refused: names given twice, numbers that are not safe integers, lone
 * surrogates, byte order marks, and nesting without end.
 *
 * Source: RFC 8259 §4, §6 and §8; RFC 7493 (I-JSON).
 *
 * @param bytes - UTF-8; the caller has bounded their length
 * @returns its canonical form: names sorted by code point, no white space, the escapes of
 * `JSON.stringify`, UTF-8; `bytes` themselves if that is what they are
 * @throws OtaError METADATA_MALFORMED, with the byte offset after `path`
 */
export function canonicalText(bytes: Uint8Array, path: string): Uint8Array {
  if (!isUtf8(bytes)) throw new OtaError('METADATA_MALFORMED', { path, want: 'UTF-8' });
  const canonical = new Scanner(bytes, path).document();
  return Buffer.compare(canonical, bytes) === 0 ? bytes : canonical;
}

/** Two numbers for each member of the objects that are open, innermost last. */
class Marks {
  #numbers = new Uint32Array(256);
  top = 0;

  push(written: number, read: number): void {
    if (this.top === this.#numbers.length) {
      const grown = new Uint32Array(2 * this.top);
      grown.set(this.#numbers);
      this.#numbers = grown;
    }
    this.#numbers[this.top] = written;
    this.#numbers[this.top + 1] = read;
    this.top += 2;
  }

  /** Where a member's name starts in what is written. */
  written(mark: number): number {
    return this.#numbers[mark] ?? 0;
  }

  /** Where it starts in what is read, for failures. */
  read(mark: number): number {
    return this.#numbers[mark + 1] ?? 0;
  }
}

class Scanner {
  readonly #in: Uint8Array;
  readonly #out: Buffer;
  readonly #path: string;
  readonly #marks = new Marks();
  /** Next byte to read, to write. */
  #at = 0;
  #to = 0;
  #scratch: Buffer | undefined;

  constructor(bytes: Uint8Array, path: string) {
    this.#in = bytes;
    this.#path = path;
    // Canonical text is never longer: every escape it needs was one already.
    this.#out = Buffer.allocUnsafeSlow(bytes.byteLength);
  }

  document(): Buffer {
    this.#value(0);
    this.#skip();
    if (this.#at < this.#in.length) throw this.#wanted('nothing more');
    return this.#out.subarray(0, this.#to);
  }

  #value(depth: number): void {
    this.#skip();
    const first = this.#in[this.#at];
    if (first === BYTE.quote) {
      this.#string();
    } else if (first === BYTE.openObject || first === BYTE.openArray) {
      // Without a bound, a few kilobytes of `[` exhaust the stack.
      if (depth === MAX_DEPTH) throw this.#wanted(`nesting of at most ${String(MAX_DEPTH)} levels`);
      if (first === BYTE.openObject) this.#object(depth);
      else this.#array(depth);
    } else if (first === BYTE.minus || isDigit(first)) {
      this.#integer();
    } else {
      this.#literal();
    }
  }

  #object(depth: number): void {
    const [from, start, first] = [this.#to, this.#at, this.#marks.top];
    let sorted = true;
    this.#copy();
    for (let more = !this.#take(BYTE.closeObject); more; more = this.#more(BYTE.closeObject)) {
      this.#skip();
      sorted = this.#name(first, sorted);
      if (!this.#take(BYTE.colon)) throw this.#wanted('a colon');
      this.#value(depth + 1);
    }
    const count = (this.#marks.top - first) / 2;
    if (count > MAX_SMALL_MEMBERS && (this.#at - start) / count < MIN_BYTES_PER_MEMBER) {
      throw this.#wanted(`at most ${String(MAX_SMALL_MEMBERS)} members as short as these`, start);
    }
    if (!sorted) this.#sort(first, from);
    this.#marks.top = first;
  }

  /** @returns whether all names of this object so far, from the mark `first` on, are in order */
  #name(first: number, sorted: boolean): boolean {
    const [start, to, before] = [this.#at, this.#to, this.#marks.top - 2];
    this.#string();
    this.#marks.push(to, start);
    if (!sorted || before < first) return sorted;
    const order = compareNames(this.#out, this.#marks.written(before), to);
    if (order === 0) throw this.#twice(start);
    return order < 0;
  }

  /** One parser takes the first of two equal names, another the last: a signature would cover both. */
  #twice(at: number): OtaError<'METADATA_MALFORMED'> {
    return this.#wanted('each name once', at);
  }

  /**
   * Puts the members of the object that has just been written into the order of their names.
   *
   * @param first - its first mark
   * @param from - where it starts in what is written
   */
  #sort(first: number, from: number): void {
    const [marks, end] = [this.#marks, this.#to - 1];
    // One for all objects: copies of each would be the text once more for every level of nesting.
    this.#scratch ??= Buffer.allocUnsafeSlow(this.#in.byteLength);
    const written = this.#scratch;
    this.#out.copy(written, 0, from, end);
    const name = (mark: number): number => marks.written(mark) - from;
    const order = Uint32Array.from({ length: (marks.top - first) / 2 }, (_, i) => first + 2 * i);
    order.sort((a, b) => compareNames(written, name(a), name(b)));
    let to = from + 1;
    for (const [place, mark] of order.entries()) {
      const before = order[place - 1];
      if (before !== undefined) {
        if (compareNames(written, name(before), name(mark)) === 0) {
          throw this.#twice(Math.max(marks.read(before), marks.read(mark)));
        }
        this.#out[to] = BYTE.comma;
        to += 1;
      }
      // A comma stands before the next name.
      const until = mark + 2 === marks.top ? end : marks.written(mark + 2) - 1;
      to += written.copy(this.#out, to, name(mark), until - from);
    }
  }

  #array(depth: number): void {
    this.#copy();
    for (let more = !this.#take(BYTE.closeArray); more; more = this.#more(BYTE.closeArray)) {
      this.#value(depth + 1);
    }
  }

  #literal(): void {
    const word = LITERALS.find((each) => each.every((byte, i) => this.#in[this.#at + i] === byte));
    if (word === undefined) throw this.#wanted('a JSON value');
    for (let left = word.length; left > 0; left -= 1) this.#copy();
  }

  #integer(): void {
    const start = this.#at;
    const negative = this.#in[start] === BYTE.minus;
    if (negative) this.#copy();
    const first = this.#in[this.#at];
    if (!isDigit(first)) throw this.#wanted('a JSON value', start);
    let value = 0;
    for (let digit = first; isDigit(digit); digit = this.#in[this.#at]) {
      value = value * 10 + ((digit ?? 0) - BYTE.zero);
      this.#copy();
      if (first === BYTE.zero) break;
    }
    // A fraction, `-0` or 2^53+1 cannot be written back as the bytes that were signed.
    const exact = value <= Number.MAX_SAFE_INTEGER && !(negative && value === 0);
    if (!exact || FRACTION.includes(this.#in[this.#at] ?? 0)) {
      throw this.#wanted('an integer within ±(2^53-1)', start);
    }
  }

  #string(): void {
    const start = this.#at;
    if (this.#in[start] !== BYTE.quote) throw this.#wanted('a string');
    this.#copy();
    for (;;) {
      this.#plainBytes();
      const stop = this.#in[this.#at];
      if (stop === BYTE.quote) break;
      if (stop !== BYTE.backslash) throw this.#wanted('the rest of a string');
      this.#write(this.#escape(start));
    }
    this.#copy();
  }

  #plainBytes(): void {
    const [source, target] = [this.#in, this.#out];
    let [at, to] = [this.#at, this.#to];
    for (let byte = source[at]; byte !== undefined; byte = source[at]) {
      if (byte === BYTE.quote || byte === BYTE.backslash || byte < BYTE.space) break;
      target[to] = byte;
      at += 1;
      to += 1;
    }
    this.#at = at;
    this.#to = to;
  }

  /** @returns the code point that is meant */
  #escape(start: number): number {
    this.#at += 1;
    const kind = this.#in[this.#at];
    if (kind === BYTE.u) {
      const unit = this.#hex4();
      if (unit === undefined) throw this.#wanted('a known escape');
      return unit < 0xd800 || unit > 0xdfff ? unit : this.#pair(unit, start);
    }
    const meant = ESCAPES.get(kind ?? -1);
    if (meant === undefined) throw this.#wanted('a known escape');
    this.#at += 1;
    return meant;
  }

  /** A surrogate has to be the first of two; UTF-8 itself has none. */
  #pair(high: number, start: number): number {
    let low: number | undefined;
    if (this.#in[this.#at] === BYTE.backslash && this.#in[this.#at + 1] === BYTE.u) {
      this.#at += 1;
      low = this.#hex4();
      if (low === undefined) throw this.#wanted('a known escape');
    }
    if (high > 0xdbff || low === undefined || low < 0xdc00 || low > 0xdfff) {
      throw this.#wanted('no lone surrogate', start);
    }
    return 0x10000 + (high - 0xd800) * 0x400 + (low - 0xdc00);
  }

  /** Four hex digits after the `u` that is next; `undefined`, and nothing read, if it has not. */
  #hex4(): number | undefined {
    let unit = 0;
    for (let i = 1; i <= 4; i += 1) {
      const digit = hexDigit(this.#in[this.#at + i] ?? 0);
      if (digit === undefined) return undefined;
      unit = unit * 16 + digit;
    }
    this.#at += 5;
    return unit;
  }

  #write(codePoint: number): void {
    const short = SHORT.get(codePoint);
    if (short !== undefined) {
      this.#out[this.#to] = BYTE.backslash;
      this.#out[this.#to + 1] = short;
      this.#to += 2;
    } else if (codePoint < BYTE.space) {
      const text = `\\u00${codePoint.toString(16).padStart(2, '0')}`;
      this.#to += this.#out.write(text, this.#to, 'latin1');
    } else {
      this.#to = writeUtf8(this.#out, this.#to, codePoint);
    }
  }

  /** After a member: is there another one, or does `close` follow? */
  #more(close: number): boolean {
    if (this.#take(BYTE.comma)) return true;
    if (this.#take(close)) return false;
    throw this.#wanted(`a comma or ${String.fromCharCode(close)}`);
  }

  #take(mark: number): boolean {
    this.#skip();
    const taken = this.#in[this.#at] === mark;
    if (taken) this.#copy();
    return taken;
  }

  /** Writes the next byte as it stands. */
  #copy(): void {
    this.#out[this.#to] = this.#in[this.#at] ?? 0;
    this.#at += 1;
    this.#to += 1;
  }

  #skip(): void {
    for (let byte = this.#in[this.#at]; byte !== undefined; byte = this.#in[this.#at]) {
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at += 1;
    }
  }

  #wanted(want: string, at = this.#at): OtaError<'METADATA_MALFORMED'> {
    return new OtaError('METADATA_MALFORMED', { path: `${this.#path}@${String(at)}`, want });
  }
}
