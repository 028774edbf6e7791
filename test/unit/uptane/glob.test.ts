import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { matchesPath } from '../../../agent/uptane/glob.ts';

describe('matchesPath', () => {
  const cases: readonly (readonly [pattern: string, path: string, matches: boolean])[] = [
    ['abc/*', 'abc/fw.bin', true],
    ['abc/*', 'abc/', true],
    ['abc/*', 'abc/def/fw.bin', false],
    ['abc/*', 'abcd/fw.bin', false],
    ['*', 'fw.bin', true],
    ['*', 'abc/fw.bin', false],
    ['*/*', 'abc/fw.bin', true],
    ['fw-?.bin', 'fw-1.bin', true],
    ['fw-?.bin', 'fw-12.bin', false],
    ['a?c', 'a/c', false],
    ['fw-[0-9].bin', 'fw-7.bin', true],
    ['fw-[0-9].bin', 'fw-x.bin', false],
    ['fw-[!0-9].bin', 'fw-x.bin', true],
    ['fw-[!0-9].bin', 'fw-7.bin', false],
    ['[]a]', ']', true],
    ['[a-]', '-', true],
    ['[', '[', true],
    ['[abc', '[abc', true],
    ['*a*b', 'xaxxb', true],
    ['*a*b', 'xaxxbc', false],
    ['fw.bin', 'fwxbin', false],
    ['(a|b)', 'a', false],
    ['FW.bin', 'fw.bin', false],
    ['grü?', 'grün', true],
    ['?', '\u{1f680}', true],
    ['[\u{1f680}-\u{1f684}]', '\u{1f682}', true],
    ['[\ue000-\u{1f680}]', '\uffff', true],
    ['[c-a]', 'b', false],
    ['[^a]', 'b', false],
    ['[^a]', '^', true],
    ['[!]', '[!]', true],
    ['[a/b]', 'a', false],
    ['a\\*', 'a*', false],
    ['.*', '.hidden', true],
    ['*', '.hidden', true],
    ['{a,b}', 'a', false],
    ['**', 'abc/fw.bin', false],
    ['abc/**/fw.bin', 'abc/fw.bin', false],
    ['*', '', true],
    ['abc/', 'abc/', true],
    ['/fw.bin', 'fw.bin', false],
    ['', 'fw.bin', false],
    ['?\u0001', 'ab', false],
    ['?\u0002', 'ab', false],
  ];
  for (const [pattern, path, matches] of cases) {
    test(`${pattern || 'the empty pattern'} ${matches ? 'covers' : 'does not cover'} ${path} (D4)`, () => {
      assert.equal(matchesPath(pattern, path), matches);
    });
  }

  test('a pattern without special characters covers exactly itself (D4)', () => {
    const plain = fc.stringMatching(/^[a-z0-9./_-]{1,20}$/u);
    fc.assert(
      fc.property(plain, plain, (pattern, path) => {
        assert.equal(matchesPath(pattern, pattern), true);
        assert.equal(matchesPath(pattern, path), pattern === path);
      }),
    );
  });

  test('agrees with a regular expression about * and ? (D4)', () => {
    const pattern = fc.stringMatching(/^[ab*?/]{0,10}$/u);
    const path = fc.stringMatching(/^[ab/]{0,10}$/u);
    fc.assert(
      fc.property(pattern, path, (shell, text) => {
        const source = shell.replaceAll('*', '[^/]*').replaceAll('?', '[^/]');
        assert.equal(matchesPath(shell, text), new RegExp(`^${source}$`, 'u').test(text));
      }),
      { numRuns: 2000 },
    );
  });

  test('agrees with a regular expression about sets (D4)', () => {
    const members = fc.stringMatching(/^[a-e]{1,3}$|^[a-e]-[a-e][a-e]?$|^[a-c][b-e]-[c-e]$/u);
    const set = fc.tuple(fc.constantFrom('', '!'), members).filter(([, text]) => isAscending(text));
    const token = fc.oneof(
      fc.constantFrom('*', '?', 'a', 'c', '/').map((text) => [text, '']),
      set.map(([not, text]) => [`[${not}${text}]`, `[${not === '' ? '' : '^/'}${text}]`]),
    );
    const path = fc.stringMatching(/^[a-f/]{0,8}$/u);
    fc.assert(
      fc.property(fc.array(token, { maxLength: 6 }), path, (tokens, text) => {
        const shell = tokens.map(([written = '']) => written).join('');
        const source = tokens.map(([written = '', set = '']) => set || regular(written)).join('');
        assert.equal(matchesPath(shell, text), new RegExp(`^${source}$`, 'u').test(text), shell);
      }),
      { numRuns: 3000 },
    );
  });

  test('no pattern costs more than the product of the lengths (D4)', () => {
    const path = 'a'.repeat(254);
    const hostile = [
      `*${'a'.repeat(126)}b`,
      `*${'?'.repeat(126)}b`,
      `*${'[!b]'.repeat(126)}b`,
      `${'*a'.repeat(253)}b`,
      `*[${'bd'.repeat(500)}]`,
      `*${'[bdfha]'.repeat(125)}b`,
      '['.repeat(1024),
      '[]'.repeat(512),
    ];
    const started = process.hrtime.bigint();
    for (const pattern of hostile) {
      for (let n = 0; n < 100; n += 1) assert.equal(matchesPath(pattern, path), false);
    }
    const tookMs = Number(process.hrtime.bigint() - started) / 1e6;
    assert.ok(tookMs < 4_000, `${String(tookMs)} ms`);
  });

  test('hostile patterns take no more than a moment', () => {
    const started = process.hrtime.bigint();
    matchesPath(`${'*a'.repeat(5_000)}b`, 'a'.repeat(254));
    matchesPath('['.repeat(200_000), 'a'.repeat(254));
    matchesPath('[]'.repeat(100_000), 'a'.repeat(254));
    const tookMs = Number(process.hrtime.bigint() - started) / 1e6;
    assert.ok(tookMs < 2_000, `${String(tookMs)} ms`);
  });
});

function isAscending(members: string): boolean {
  const range = /(.)-(.)/u.exec(members);
  return (range?.[1] ?? '') <= (range?.[2] ?? '');
}

function regular(token: string): string {
  if (token === '*') return '[^/]*';
  return token === '?' ? '[^/]' : token;
}
