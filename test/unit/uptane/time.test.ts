import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import {
  formatInstant,
  isExpired,
  parseInstant,
  type Instant,
} from '../../../agent/uptane/time.ts';
import { throwsCode } from '../../support/expect-code.ts';

describe('parseInstant', () => {
  for (const text of [
    '',
    'garbage',
    '2026-02-30T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01',
    '2026-01-01T00:00Z',
    '2026-01-01T00:00:00',
    '2026-01-01T00:00:00+00:00',
    '2026-01-01t00:00:00z',
    ' 2026-01-01T00:00:00Z',
    '+012026-01-01T00:00:00Z',
  ]) {
    test(`refuses ${JSON.stringify(text)}`, () => {
      throwsCode(() => parseInstant(text, 'signed.expires'), 'METADATA_MALFORMED', {
        path: 'signed.expires',
        want: 'a UTC instant',
      });
    });
  }

  test('tolerates a fraction of a second, which the reference client refuses', () => {
    assert.equal(parseInstant('2038-01-19T03:14:06.000Z', 'x'), 2_147_483_646_000);
    assert.equal(parseInstant('2038-01-19T03:14:06.123456Z', 'x'), 2_147_483_646_123);
  });

  test('round-trips every whole second', () => {
    const seconds = fc.integer({ min: 0, max: 253_402_300_799 });
    fc.assert(
      fc.property(seconds, (s) => {
        const text = new Date(s * 1000).toISOString().replace('.000Z', 'Z');
        assert.equal(parseInstant(text, 'x'), s * 1000);
        assert.equal(formatInstant(parseInstant(text, 'x')), text);
      }),
    );
  });
});

test('a file is expired at the instant it names, and not a millisecond before (T4, §5.4.4.4 step 4)', () => {
  const at = 1_000 as Instant;
  assert.equal(isExpired(at, at), true);
  assert.equal(isExpired(at, 999 as Instant), false);
});
