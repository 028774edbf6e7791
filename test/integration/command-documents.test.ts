/** Completions and the manual page, read by the programs that they are for. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { format } from 'prettier';

import { completionScript, manPage, type Shell } from '../../agent/cli-documents.ts';
import { commandHelp, COMMANDS, EXIT_CODES, type CommandName } from '../../agent/cli.ts';
import { openapiCommand } from '../../agent/commands/api-reference.ts';
import { explainCommand } from '../../agent/commands/explain.ts';
import { FAILURE_CODES } from '../../agent/errors.ts';
import { openApiDocument } from '../../agent/io/api/openapi.ts';
import { VERSION } from '../../agent/version.ts';
import { throwsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const NAMES = Object.keys(COMMANDS) as CommandName[];
let directory: ReturnType<typeof temporaryDirectory>;
before(() => {
  directory = temporaryDirectory('documents');
});
after(() => {
  directory.remove();
});

/** What the shell itself offers after these words. */
function offered(shell: Shell, words: readonly string[]): readonly string[] {
  const script = join(directory.path, `completion.${shell}`);
  writeFileSync(script, `${completionScript(shell).join('\n')}\n`);
  const line = ['ota-agent', ...words].join(' ');
  const programs: Readonly<Record<Shell, string>> = {
    bash: `source ${script}; COMP_WORDS=(${line
      .split(' ')
      .map((word) => `'${word}'`)
      .join(
        ' ',
      )}); COMP_CWORD=${String(words.length)}; _ota_agent; printf '%s\n' "\${COMPREPLY[@]}"`,
    fish: `source ${script}; complete -C '${line}'`,
    // Its completion runs in an editor alone: what it would add is asked of the function.
    zsh: `compdef() { : }; _describe() { print -l -- \${(P)2%%:*} }; compadd() { shift; print -l -- "$@" }; source ${script}; words=(${line
      .split(' ')
      .map((word) => `'${word}'`)
      .join(' ')}); CURRENT=${String(words.length + 1)}; _ota_agent`,
  };
  const out = execFileSync(shell, ['-c', programs[shell]], { encoding: 'utf8' });
  return out.split('\n').flatMap((one) => (one === '' ? [] : [one.split('\t')[0] ?? '']));
}

describe('completion', () => {
  for (const shell of ['bash', 'zsh', 'fish'] as const) {
    test(`in ${shell} offers every command, and its actions and options`, () => {
      const commands = offered(shell, ['']);
      for (const name of NAMES) assert.ok(commands.includes(name), name);
      const rotate = offered(shell, ['rotate', '']);
      for (const word of ['tls', 'uptane', 'certificate', 'cancel'])
        assert.ok(rotate.includes(word));
      const verify = offered(shell, ['verify', '--']);
      for (const option of ['--director', '--hardware-id', '--images', '--config', '--json']) {
        assert.ok(verify.includes(option), option);
      }
    });
  }

  test('has every option that --help shows at the beginning of a line', () => {
    const script = completionScript('bash').join('\n');
    for (const name of NAMES) {
      for (const [, option = ''] of commandHelp(name).matchAll(/^ +(--[a-z-]+)/gmu)) {
        const line = script.split('\n').find((one) => one.trim().startsWith(`${name})`)) ?? '';
        assert.ok(line.includes(option), `${name} ${option}`);
      }
    }
  });
});

describe('the manual page', () => {
  const page = (): string => {
    const path = join(directory.path, 'ota-agent.8');
    writeFileSync(path, `${manPage('1.2.3').join('\n')}\n`);
    return path;
  };

  test('is taken by groff without a warning', () => {
    const args = ['-c', `groff -man -ww -z -Tutf8 ${page()} 2>&1`];
    assert.equal(execFileSync('sh', args, { encoding: 'utf8' }), '');
  });

  test('shows every command, every option and every exit code as --help does', () => {
    const text = execFileSync('sh', ['-c', `groff -man -Tutf8 -P-c ${page()} | col -b`], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    }).replace(/\s+/gu, ' ');
    for (const name of NAMES) {
      for (const line of commandHelp(name).split('\n')) {
        assert.ok(text.includes(oneSpaced(line)), line);
      }
    }
    for (const [code, means] of EXIT_CODES)
      assert.ok(text.includes(`${String(code)} ${means}`), means);
  });

  const oneSpaced = (line: string): string => line.replace(/\s+/gu, ' ').trim();
});

describe('openapi', () => {
  test('API.md is what `openapi --markdown` prints', async () => {
    const written = readFileSync(join(import.meta.dirname, '../../agent/API.md'), 'utf8');
    const made = openapiCommand(['--markdown']).lines.join('\n');
    const style = { parser: 'markdown', singleQuote: true, printWidth: 100 };
    assert.equal(written, await format(made, style));
  });

  test('the document is the one that the daemon serves', () => {
    const { exit, json, lines } = openapiCommand([]);
    assert.equal(exit, 0);
    assert.deepEqual(json, openApiDocument(VERSION));
    assert.deepEqual(JSON.parse(lines.join('\n')), json);
  });

  test('what it does not take is told with what it takes', () => {
    assert.throws(() => openapiCommand(['--yaml']), {
      code: 'USAGE',
      details: {
        what: 'openapi does not take --yaml',
        remedy: 'ota-agent openapi [--markdown]',
      },
    });
  });
});

describe('explain', () => {
  test('FAILURES.md is what `explain --markdown` prints', () => {
    const written = readFileSync(join(import.meta.dirname, '../../agent/FAILURES.md'), 'utf8');
    assert.equal(written, `${explainCommand(['--markdown']).lines.join('\n')}\n`);
  });

  test('says of a code what it means, who acts, and how it ends', () => {
    const { exit, json } = explainCommand(['metadata_expired']);
    assert.equal(exit, 0);
    const { remedy, meaning, ...rest } = json as Record<string, unknown>;
    assert.deepEqual(rest, {
      code: 'METADATA_EXPIRED',
      kind: 'attack',
      retry: 'next-poll',
      exit: 20,
      attack: 'freeze',
    });
    assert.match(String(remedy), /sign the role again/u);
    assert.match(String(meaning), /expired/u);
  });

  test('every code has a meaning of its own', () => {
    const { json } = explainCommand([]);
    const { codes } = json as { codes: { code: string; meaning: string }[] };
    assert.deepEqual(
      codes.map(({ code }) => code),
      FAILURE_CODES,
    );
    assert.equal(new Set(codes.map(({ meaning }) => meaning)).size, codes.length);
  });

  test('a code that is not there is refused with those that look like it', () => {
    const details = {
      what: 'no such failure code: LOCKED (is it TOKEN_LOCKED?)',
      remedy: 'ota-agent explain lists all codes',
    };
    throwsCode(() => explainCommand(['LOCKED']), 'USAGE', details);
  });
});
