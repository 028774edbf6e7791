/**
 * The commands of a document, read out of its `console` blocks, and what it says they print.
 *
 * In such a block a line after `$ ` is a command. It goes on over lines that end in a backslash, and to
 * the end of a here-document. What follows is its output: `…` in a line stands for anything in that line,
 * a line of `…` alone for any number of lines. `console terminal=2` is typed somewhere else.
 */
import { readFileSync } from 'node:fs';

export interface DocumentCommand {
  /** Where it stands, counted from 1. */
  readonly line: number;
  /** The heading above it. */
  readonly section: string;
  readonly terminal: string;
  readonly text: string;
  readonly output: readonly string[];
}

/** A fenced block. */
export interface Fence {
  /** Of its first line of text, counted from 1. */
  readonly line: number;
  /** What stands behind the fence: a language, and what else. */
  readonly info: string;
  readonly lines: readonly string[];
}

/** @throws Error for a fence that other readers of this file would not see */
export function fencesOf(path: string): readonly Fence[] {
  const fences: { line: number; info: string; lines: string[] }[] = [];
  let isOpen = false;
  for (const [at, line] of readFileSync(path, 'utf8').split('\n').entries()) {
    if (!isOpen && /^(?:\s+(?:```|~~~)|~~~|````)/u.test(line)) {
      throw new Error(
        `${path}:${String(at + 1)}: a fence is three backticks at the line's beginning`,
      );
    }
    if (line.startsWith('```')) {
      isOpen = !isOpen;
      if (isOpen) fences.push({ line: at + 2, info: line.slice('```'.length), lines: [] });
    } else if (isOpen) {
      fences.at(-1)?.lines.push(line);
    }
  }
  return fences;
}

export function commandsOf(path: string): readonly DocumentCommand[] {
  const commands: DocumentCommand[] = [];
  let terminal: string | undefined;
  let section = '';
  const lines = readFileSync(path, 'utf8').split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    if (terminal === undefined && line.startsWith('#')) section = line.replace(/^#+ /u, '');
    if (line.startsWith('```')) {
      terminal = terminal === undefined ? terminalOf(line) : undefined;
    } else if (terminal !== undefined && line.startsWith('$ ')) {
      const text = commandAt(lines, at);
      const after = at + text.split('\n').length;
      const output = outputAt(lines, after);
      commands.push({ line: at + 1, section, terminal, text, output });
      at = after + output.length - 1;
    } else if (terminal !== undefined) {
      throw new Error(
        `${path}:${String(at + 1)}: a console block begins with a command, after "$ "`,
      );
    }
  }
  return commands;
}

function terminalOf(fence: string): string | undefined {
  const [, terminal = '1'] = /^```console(?: terminal=(\w+))?$/u.exec(fence) ?? [fence, ''];
  return terminal === '' ? undefined : terminal;
}

function commandAt(lines: readonly string[], at: number): string {
  const first = (lines[at] ?? '').slice('$ '.length);
  const text = [first];
  const [, end] = /<<'(\w+)'/u.exec(first) ?? [];
  while (end === undefined ? text.at(-1)?.endsWith('\\') === true : text.at(-1) !== end) {
    const next = lines[at + text.length];
    if (next === undefined || next.startsWith('```')) {
      throw new Error(`line ${String(at + 1)}: the command does not end in its block`);
    }
    text.push(next);
  }
  return text.join('\n');
}

function outputAt(lines: readonly string[], from: number): readonly string[] {
  const rest = lines.slice(from);
  return rest.slice(
    0,
    rest.findIndex((line) => line.startsWith('```') || line.startsWith('$ ')),
  );
}

/** @returns the first line of the document that was not printed where it should have been */
export function missingLine(wanted: readonly string[], printed: string): string | undefined {
  if (wanted.length === 0) return undefined;
  const found = trimmed(printed.trimEnd().split('\n'));
  let at = 0;
  let mayLieFurther = false;
  for (const line of trimmed(wanted)) {
    if (line === '…') {
      mayLieFurther = true;
      continue;
    }
    const pattern = patternOf(line);
    const distance = found.slice(at).findIndex((one) => pattern.test(one));
    if (distance === -1 || (distance > 0 && !mayLieFurther)) return line;
    at += distance + 1;
    mayLieFurther = false;
  }
  const [left] = found.slice(at);
  return mayLieFurther || left === undefined ? undefined : `only that, not: ${left}`;
}

const trimmed = (lines: readonly string[]): string[] => lines.map((line) => line.trimEnd());

function patternOf(line: string): RegExp {
  const parts = line.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/gu, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 'u');
}
