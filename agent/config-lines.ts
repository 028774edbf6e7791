/**
 * On which line of a TOML document each key is written, so that a mistake can be pointed at.
 *
 * The parser in use does not say. This reader only finds where keys and values begin and end; what
 * they mean is left to the parser, which has already accepted the document.
 *
 * Source: TOML v1.0.0, "Keys", "Table", "Inline Table", "Array of Tables".
 */
import { parse } from 'smol-toml';

const BLANK = /(?:[ \t\r\n]|#[^\n]*)*/uy;
const SIMPLE_KEY = String.raw`(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)`;
const KEY = new RegExp(`${SIMPLE_KEY}(?:[ \\t]*\\.[ \\t]*${SIMPLE_KEY})*`, 'uy');
const STRING = /"""(?:[^\\]|\\[^])*?"{3,5}|'''[^]*?'{3,5}|"(?:[^"\\\n]|\\[^\n])*"|'[^'\n]*'/uy;
const SCALAR = /[^,\]}#\n]+/uy;
const HEADER_OPEN = /\[{1,2}[ \t]*/uy;
const HEADER_CLOSE = /[ \t]*\]{1,2}/uy;
const EQUALS = /[ \t]*=[ \t]*/uy;
const MAX_DEPTH = 1000;

type Path = readonly string[];

/**
 * @param text - a document that the parser accepts; of any other, a part is located
 * @returns line, from 1, by `keyText` of every table and key; the first one where there are several.
 *   What belongs to the second `[[x]]` is at `x[1].key` as well
 */
export function locateKeys(text: string): ReadonlyMap<string, number> {
  return new KeyFinder(text).find();
}

/** A path as it is written in TOML: dotted, with quotes only where needed. */
export function keyText(path: Path): string {
  return path.map((name) => (/^[A-Za-z0-9_-]+$/u.test(name) ? name : quoted(name))).join('.');
}

/** Of the characters that TOML wants escaped, JSON leaves one as it is. */
function quoted(name: string): string {
  return JSON.stringify(name).replaceAll('\x7f', String.raw`\u007f`);
}

class KeyFinder {
  readonly #text: string;
  readonly #lines = new Map<string, number>();
  /** The `[[x]]` that the reader is in, and how many there were by that name. */
  #item: { readonly path: Path; readonly name: string } | undefined;
  readonly #items = new Map<string, number>();
  #at = 0;
  #countedTo = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  find(): ReadonlyMap<string, number> {
    let table: Path = [];
    for (;;) {
      this.#take(BLANK);
      const header = this.#header();
      if (header !== undefined) table = header;
      else if (!this.#keyValue(table, 0)) return this.#lines;
    }
  }

  #header(): Path | undefined {
    const open = this.#take(HEADER_OPEN);
    if (open === '') return undefined;
    const start = this.#at;
    const path = this.#key([]);
    if (open.startsWith('[[') && path !== undefined) this.#enterItem(path, start);
    return this.#take(HEADER_CLOSE) === '' ? undefined : path;
  }

  #enterItem(path: Path, start: number): void {
    const array = keyText(path);
    const index = this.#items.get(array) ?? 0;
    this.#items.set(array, index + 1);
    this.#item = { path, name: `${array}[${String(index)}]` };
    this.#lines.set(this.#item.name, this.#lineAt(start));
  }

  /** @returns whether there was one, whole */
  #keyValue(table: Path, depth: number): boolean {
    const path = this.#key(table);
    return path !== undefined && this.#take(EQUALS) !== '' && this.#value(path, depth);
  }

  #value(path: Path, depth: number): boolean {
    if (depth > MAX_DEPTH) return false;
    if (this.#take(STRING) !== '') return true;
    const next = this.#text[this.#at];
    if (next === '[') return this.#each(']', () => this.#value(path, depth + 1));
    if (next === '{') return this.#each('}', () => this.#keyValue(path, depth + 1));
    return this.#take(SCALAR) !== '';
  }

  #each(close: string, item: () => boolean): boolean {
    this.#at += 1;
    for (;;) {
      this.#take(BLANK);
      if (this.#text[this.#at] === close) {
        this.#at += 1;
        return true;
      }
      if (!item()) return false;
      this.#take(BLANK);
      if (this.#text[this.#at] === ',') this.#at += 1;
    }
  }

  #key(table: Path): Path | undefined {
    const start = this.#at;
    const written = this.#take(KEY);
    const names = written === '' ? undefined : namesIn(written);
    if (names === undefined) return undefined;
    const path = [...table, ...names];
    for (let length = table.length + 1; length <= path.length; length += 1) {
      const part = path.slice(0, length);
      for (const key of [keyText(part), this.#inItem(part)]) {
        if (key !== undefined && !this.#lines.has(key)) this.#lines.set(key, this.#lineAt(start));
      }
    }
    return path;
  }

  #inItem(path: Path): string | undefined {
    const { path: array, name = '' } = this.#item ?? { path };
    if (path.length <= array.length || array.some((one, index) => path[index] !== one)) {
      return undefined;
    }
    return `${name}.${keyText(path.slice(array.length))}`;
  }

  #take(token: RegExp): string {
    token.lastIndex = this.#at;
    const [taken = ''] = token.exec(this.#text) ?? [];
    this.#at += taken.length;
    return taken;
  }

  #lineAt(offset: number): number {
    for (; this.#countedTo < offset; this.#countedTo += 1) {
      if (this.#text[this.#countedTo] === '\n') this.#line += 1;
    }
    return this.#line;
  }
}

/** Quotes and escapes are the parser's business. */
function namesIn(written: string): Path | undefined {
  const names: string[] = [];
  try {
    let rest: unknown = parse(`${written} = 0`);
    while (typeof rest === 'object' && rest !== null) {
      const [entry] = Object.entries(rest);
      if (entry === undefined) return undefined;
      names.push(entry[0]);
      rest = entry[1];
    }
  } catch {
    return undefined;
  }
  return names;
}
