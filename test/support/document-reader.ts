/** Types the commands of a document and compares what is printed with what the document shows. */
import assert from 'node:assert/strict';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

import { missingLine, type DocumentCommand } from './document.ts';
import { TypedShell, type TypedAnswer } from './typed-shell.ts';

const COMMAND_TIMEOUT_MS = 180_000;
const LOOK_AGAIN_MS = 30_000;
/** What only looks: a person who is faster than the device looks again. */
const LOOKS =
  /^(cat|journalctl|director \w+s$|runuser -u ota-agent -- ota-agent (status|history))/u;

export class DocumentReader {
  readonly #path: string;
  readonly #open: () => ChildProcessWithoutNullStreams;
  readonly #first: readonly string[];
  readonly #terminals = new Map<string, TypedShell>();

  /**
   * @param open - a shell, for each terminal of the document
   * @param first - typed into each before anything else
   */
  constructor(path: string, open: () => ChildProcessWithoutNullStreams, first: readonly string[]) {
    this.#path = path;
    this.#open = open;
    this.#first = first;
  }

  /** @throws AssertionError if it fails, or prints something else */
  async type(command: DocumentCommand): Promise<void> {
    const { text, output, line } = command;
    const terminal = await this.#terminal(command.terminal);
    const deadline = performance.now() + LOOK_AGAIN_MS;
    for (;;) {
      const answer = await terminal.type(text, COMMAND_TIMEOUT_MS, (printed) =>
        command.terminal === '1' ? false : missingLine(output, printed) === undefined,
      );
      const missing = missingLine(output, answer.output);
      if (answer.exit === 0 && missing === undefined) return;
      const shown = `${this.#path}:${String(line)}: ${text}\n${said(answer)}\nmissing: ${missing ?? ''}`;
      assert.ok(LOOKS.test(text) && performance.now() < deadline, shown);
      await sleep(100);
    }
  }

  async #terminal(name: string): Promise<TypedShell> {
    const open = this.#terminals.get(name) ?? new TypedShell(this.#open());
    if (!this.#terminals.has(name)) {
      this.#terminals.set(name, open);
      for (const text of this.#first) await open.type(text, COMMAND_TIMEOUT_MS);
    }
    return open;
  }
}

function said({ exit, output }: TypedAnswer): string {
  return `exit code ${String(exit)}\n${output.trimEnd()}`;
}
