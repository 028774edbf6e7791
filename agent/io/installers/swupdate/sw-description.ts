/**
 * Reads an sw-description: libconfig, or JSON, which reads the same but for quotes and commas.
 *
 * Names that stand twice in a group are refused: two readers could take different ones.
 */

export type Value = string | readonly Value[] | Group;
/** Untrusted names are keys of a map, never of an object. */
export type Group = ReadonlyMap<string, Value>;

const MAX_DEPTH = 32;
const SKIPPED = /(?:\s|#[^\n]*|\/\/[^\n]*|\/\*[^]*?\*\/)*/uy;
const TOKEN = /"(?:[^"\\]|\\.)*"|[A-Za-z*][-A-Za-z0-9_*]*|[-+.0-9][-+.0-9A-Za-z]*|[{}()[\]=:;,]/uy;
const CLOSING: Readonly<Record<string, string>> = { '{': '}', '(': ')', '[': ']' };

/** @throws Error naming the line that is wrong */
export function parseDescription(text: string): Group {
  const reader = new Reader(text);
  const group = reader.peek() === '{' ? reader.value(0) : reader.group('', 0);
  return group instanceof Map ? group : new Map<string, Value>();
}

class Reader {
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  /** @returns the next token without taking it; empty at the end */
  peek(): string {
    return this.#scan().token;
  }

  group(closing: string, depth: number): Group {
    const group = new Map<string, Value>();
    for (;;) {
      const token = this.#take();
      if (token === closing) return group;
      if (token === ';' || token === ',') continue;
      const name = unquoted(token);
      const sign = this.#take();
      if (!/^["A-Za-z*]/u.test(token) || (sign !== '=' && sign !== ':')) {
        throw this.#wrong(`${token} ${sign}`, 'want NAME = VALUE');
      }
      if (group.has(name)) throw this.#wrong(name, 'it stands twice');
      group.set(name, this.value(depth + 1));
    }
  }

  value(depth: number): Value {
    if (depth > MAX_DEPTH) throw this.#wrong('', 'too deeply nested');
    const token = this.#take();
    if (token === '{') return this.group('}', depth);
    if (token === '(' || token === '[') return this.#list(CLOSING[token] ?? '', depth);
    if (token === '' || /^[})\];,=:]/u.test(token)) throw this.#wrong(token, 'want a value');
    let text = unquoted(token);
    // libconfig joins texts that follow each other.
    while (token.startsWith('"') && this.peek().startsWith('"')) text += unquoted(this.#take());
    return text;
  }

  #list(closing: string, depth: number): readonly Value[] {
    const values: Value[] = [];
    for (;;) {
      if (this.peek() === closing) {
        this.#take();
        return values;
      }
      if (this.peek() === ',') this.#take();
      else values.push(this.value(depth + 1));
    }
  }

  #take(): string {
    const { token, end } = this.#scan();
    this.#line += this.#text.slice(this.#at, end).split('\n').length - 1;
    this.#at = end;
    return token;
  }

  #scan(): { token: string; end: number } {
    SKIPPED.lastIndex = this.#at;
    SKIPPED.exec(this.#text);
    const start = SKIPPED.lastIndex;
    if (start === this.#text.length) return { token: '', end: start };
    TOKEN.lastIndex = start;
    const [token] = TOKEN.exec(this.#text) ?? [];
    if (token === undefined) throw this.#wrong(this.#text.slice(start, start + 1), 'unexpected');
    return { token, end: TOKEN.lastIndex };
  }

  #wrong(found: string, problem: string): Error {
    const at = `sw-description near line ${String(this.#line)}`;
    return new Error(`${at}: ${JSON.stringify(found)}: ${problem}`);
  }
}

function unquoted(token: string): string {
  if (!token.startsWith('"')) return token;
  return token.slice(1, -1).replaceAll(/\\(?:x[0-9A-Fa-f]{2}|.)/gu, (escape) => {
    if (escape.length === 4) return String.fromCharCode(Number.parseInt(escape.slice(2), 16));
    const one = escape.slice(1);
    return { n: '\n', t: '\t', r: '\r', f: '\f' }[one] ?? one;
  });
}
