import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  percentEncoded,
  roleOf,
  verifyTufRoleName,
  verifyEcuSerial,
  verifyFilename,
  verifyHardwareId,
  verifyRoleName,
} from '../../../agent/uptane/names.ts';
import { throwsCode } from '../../support/expect-code.ts';

describe('verifyFilename', () => {
  const unsafe: readonly (readonly [filename: string, problem: string])[] = [
    ['', 'empty'],
    ['/etc/passwd', 'absolute'],
    ['../../../../evil.bin', 'a relative segment'],
    ['a/../b', 'a relative segment'],
    ['a/./b', 'a relative segment'],
    ['..', 'a relative segment'],
    ['a//b', 'an empty segment'],
    ['a/', 'an empty segment'],
    ['a\0b', 'a control character'],
    ['a\nb', 'a control character'],
    ['a\u0085b', 'a control character'],
    ['fu\u0308.bin', 'not in normalisation form C'],
    ['x'.repeat(255), 'longer than 254 characters'],
  ];
  for (const [filename, problem] of unsafe) {
    test(`refuses ${JSON.stringify(filename.slice(0, 30))}: ${problem} (V4, P11)`, () => {
      throwsCode(
        () => {
          verifyFilename(filename);
        },
        'TARGET_NAME_UNSAFE',
        { filename, problem },
      );
    });
  }

  for (const filename of [
    'fw.bin',
    'dir a/b+c/fü%20 1.0.bin',
    'a..b',
    '...',
    '.hidden',
    'C:\\fw.bin',
    '%2e%2e/fw.bin',
    'x'.repeat(254),
    '\u{1f680}'.repeat(254),
  ]) {
    test(`accepts ${JSON.stringify(filename.slice(0, 30))} (V4)`, () => {
      verifyFilename(filename);
    });
  }
});

describe('identifiers have the limits of the servers in the field (G10, P11)', () => {
  const limits = [
    { what: 'an ECU serial', verify: verifyEcuSerial, maxCharacters: 64 },
    { what: 'a hardware id', verify: verifyHardwareId, maxCharacters: 200 },
  ];
  for (const { what, verify, maxCharacters } of limits) {
    const refuses = (text: string, want: string): void => {
      throwsCode(
        () => {
          verify(text, 'doc.id');
        },
        'METADATA_MALFORMED',
        { path: 'doc.id', want },
      );
    };
    test(`${what} has 1 to ${String(maxCharacters)} characters`, () => {
      verify('x', 'doc.id');
      verify('ü'.repeat(maxCharacters), 'doc.id');
      refuses('', `1 to ${String(maxCharacters)} characters`);
      refuses('x'.repeat(maxCharacters + 1), `1 to ${String(maxCharacters)} characters`);
    });
    test(`${what} has no control characters and one spelling`, () => {
      refuses('a\tb', 'no control characters');
      refuses('fu\u0308', 'normalisation form C');
    });
  }
});

describe('verifyRoleName', () => {
  const FORM = 'letters, digits, _, - and inner dots, 1 to 50';
  for (const name of ['', '.hidden', '../x', 'a/b', 'a b', 'ü', 'x'.repeat(51)]) {
    test(`refuses ${JSON.stringify(name.slice(0, 10))}, which becomes part of a path (D1)`, () => {
      throwsCode(
        () => {
          verifyRoleName(name, 'doc.name');
        },
        'METADATA_MALFORMED',
        { path: 'doc.name', want: FORM },
      );
    });
  }

  for (const name of ['root', 'timestamp', 'snapshot', 'targets']) {
    test(`refuses ${name}, whose file is another role's (D1)`, () => {
      throwsCode(
        () => {
          verifyRoleName(name, 'doc.name');
        },
        'METADATA_MALFORMED',
        { path: 'doc.name', want: 'a name that no top-level role has' },
      );
    });
  }

  test('accepts names of the field, numbers among them (D1)', () => {
    for (const name of ['new-role', '10', 'tdx.containers_v2', 'Targets']) {
      verifyRoleName(name, 'doc.name');
    }
  });
});

describe('a name as one segment of a path', () => {
  test('is written as other TUF clients write it, in capitals, where it is not plain (D1)', () => {
    assert.equal(percentEncoded("a!'()*/ü~"), 'a%21%27%28%29%2A%2F%C3%BC~');
    assert.equal(roleOf("a!'()*"), 'delegated/a%21%27%28%29%2A');
    assert.equal(roleOf('targets'), 'targets');
  });

  test('of TUF has 1 to 200 characters so written, and is none of a top-level role (D1)', () => {
    const want = '1 to 200 characters, percent-encoded';
    for (const name of ['a', 'a'.repeat(200), '/'.repeat(66), '../x', 'Root']) {
      verifyTufRoleName(name, 'doc.name');
    }
    for (const [name, problem] of [
      ['', want],
      ['a'.repeat(201), want],
      ['/'.repeat(67), want],
      ['root', 'a name that no top-level role has'],
    ] as const) {
      throwsCode(
        () => {
          verifyTufRoleName(name, 'doc.name');
        },
        'METADATA_MALFORMED',
        { path: 'doc.name', want: problem },
      );
    }
  });
});
