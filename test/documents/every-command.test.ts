/**
 * No document has a command that nobody has typed.
 *
 * In a fenced block a command is typed by a test (`console`), or says in `untyped.ts` why it is not
 * (`sh`); all others, and those within a sentence, have programs, words and options that exist.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

import { commandsOf, fencesOf, type Fence } from '../support/document.ts';
import { DOCUMENTS, ROOT } from './documents.ts';
import { isCommand, problemOf } from './programs.ts';
import { BY_STEPS, TYPED } from './typed.ts';
import { UNTYPED } from './untyped.ts';

/** What is no command: files, messages, pictures. */
const DATA = ['toml', 'json', 'ini', 'xml', 'csv', 'ts', 'text'];
/** They tell of the past, too. */
const HISTORY = ['CHANGELOG.md', 'agent/DECISIONS.md'];

interface Shown {
  /** Document and line. */
  readonly at: string;
  readonly document: string;
  readonly text: string;
}

function inBlocks(language: string): readonly Shown[] {
  return DOCUMENTS.flatMap((document) =>
    fencesOf(join(ROOT, document))
      .filter(({ info }) => info.split(' ')[0] === language)
      .flatMap((fence) => commandsIn(document, fence)),
  );
}

/** Each line is one, unless the one before ends in a backslash. */
function commandsIn(document: string, { line, lines }: Fence): readonly Shown[] {
  const commands: Shown[] = [];
  let isUnfinished = false;
  for (const [index, text] of lines.entries()) {
    const last = commands.at(-1);
    if (isUnfinished && last !== undefined) {
      commands[commands.length - 1] = { ...last, text: `${last.text.slice(0, -1)}${text.trim()}` };
    } else {
      commands.push({ at: `${document}:${String(line + index)}`, document, text });
    }
    isUnfinished = text.endsWith('\\');
  }
  return commands.map((one) => ({ ...one, text: one.text.replace(/\s+#.*$/u, '').trim() }));
}

const typed = DOCUMENTS.flatMap((document) => {
  const fences = fencesOf(join(ROOT, document));
  const hasCommands = fences.some(({ info }) => info.split(' ')[0] === 'console');
  const commands = hasCommands ? commandsOf(join(ROOT, document)) : [];
  return commands.map(({ line, text }) => ({ at: `${document}:${String(line)}`, document, text }));
});

function inSentences(): readonly Shown[] {
  return DOCUMENTS.filter((document) => !HISTORY.includes(document)).flatMap((document) => {
    const blocks = new Set(
      fencesOf(join(ROOT, document)).flatMap(({ line, lines }) => lines.map((_, at) => line + at)),
    );
    const lines = readFileSync(join(ROOT, document), 'utf8').split('\n');
    return lines.flatMap((line, at) =>
      blocks.has(at + 1)
        ? []
        : [...line.matchAll(/`([^`]+)`/gu)].map(([, text = '']) => ({
            at: `${document}:${String(at + 1)}`,
            document,
            text: text.replaceAll('\\|', '|'),
          })),
    );
  });
}

const where = (all: readonly Shown[]): readonly string[] =>
  all.map(({ at, text }) => `${at}: ${text}`);
const reasonFor = ({ document, text }: Shown): string | undefined =>
  UNTYPED.find((one) => one.document === document && one.commands.includes(text))?.why;

test('every fenced block says what it is, so that none hides commands', () => {
  const unnamed = DOCUMENTS.flatMap((document) =>
    fencesOf(join(ROOT, document))
      .filter(({ info }) => ![...DATA, 'console', 'sh'].includes(info.split(' ')[0] ?? ''))
      .map(({ line, info }) => `${document}:${String(line)}: \`\`\`${info}`),
  );
  assert.deepEqual(unnamed, []);
});

test('a block that is not of commands has none', () => {
  const commands = DATA.flatMap(inBlocks).filter(
    ({ text }) => isCommand(text) || text.startsWith('$ '),
  );
  assert.deepEqual(where(commands), []);
});

test('every console block is typed by a test, which names its document', () => {
  const strangers = typed.filter(({ document }) => {
    const by = TYPED.get(document);
    if (by === undefined) return true;
    return by !== BY_STEPS && !readFileSync(join(ROOT, by), 'utf8').includes(document);
  });
  assert.deepEqual(where(strangers), []);
  const documents = new Set(typed.map(({ document }) => document));
  assert.deepEqual([...documents].toSorted(), [...TYPED.keys()].toSorted());
});

test('every other command is typed in another document, or has a reason', () => {
  const texts = new Set(typed.map(({ text }) => text.replace(/\s+#.*$/u, '')));
  const others = inBlocks('sh').filter(({ text }) => !texts.has(text));
  assert.deepEqual(where(others.filter((one) => reasonFor(one) === undefined)), []);
});

test('the list of reasons has no command that no document shows, and names tests that are there', () => {
  const shown = inBlocks('sh');
  for (const { document, commands, by } of UNTYPED) {
    for (const text of commands) {
      assert.ok(
        shown.some((one) => one.document === document && one.text === text),
        `${document}: ${text}`,
      );
    }
    if (by !== undefined) assert.ok(readFileSync(join(ROOT, by), 'utf8') !== '', by);
  }
});

test('programs, words and options of every command exist, also of those within a sentence', () => {
  const problems = [...inBlocks('sh'), ...typed, ...inSentences()].flatMap(
    ({ at, document, text }) => {
      const problem = problemOf(text, join(ROOT, dirname(document)));
      return problem === undefined ? [] : [`${at}: ${text}: ${problem}`];
    },
  );
  assert.deepEqual(problems, []);
});

for (const [text, problem] of [
  ['ota-agent vanish', 'ota-agent has no command vanish'],
  ['runuser -u ota-agent -- ota-agent check --loud', 'ota-agent check takes no --loud'],
  ['ota-agent rotate everything', 'ota-agent rotate does not know everything'],
  ['FOO=1 npm run vanish', 'package.json has no script vanish'],
  ['npm run fleet -- --device-count 5', 'test/fleet/main.ts takes no --device-count'],
  ['node test/vanished.ts', 'there is no test/vanished.ts'],
  ['node test/director/cli.ts --state DIR publish', 'publish needs other words'],
  ['true && sh systemd/vanished.sh', 'there is no systemd/vanished.sh'],
  ['systemctl enable --now ota-agent-vanished.timer', 'there is no unit ota-agent-vanished.timer'],
  ['npm run -s fleet -- --devices 5 | ota-agent config check # --no', undefined],
] as const) {
  test(`${problem === undefined ? 'nothing is' : 'what is'} wrong with a command is found: ${text}`, () => {
    assert.equal(problemOf(text, ROOT), problem);
  });
}
