import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import type { FailureCode, FailureDetails } from '../../../agent/errors.ts';
import {
  effectiveNow,
  readTimeKeys,
  timeRequest,
  verifyTime,
  type TimeExpected,
} from '../../../agent/uptane/attested-time.ts';
import { parseInstant, type Instant } from '../../../agent/uptane/time.ts';
import {
  ed25519,
  envelope,
  keysObject,
  rsa,
  type Body,
  type Key,
} from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';

const instant = (text: string): Instant => parseInstant(text, 'test');
const Y1970 = 0 as Instant;
const Y2100 = instant('2100-01-01T00:00:00Z');
const KNOWN = instant('2026-11-20T00:00:00Z');
const NOW = instant('2026-11-21T12:00:00Z');
const NONCE = 'f3b1c6a2-0000-4000-8000-00000000abcd';
const SUBJECT = { repo: 'director', role: 'time' } as const;

const keysFile = (keys: readonly Key[], threshold: number): Uint8Array =>
  Buffer.from(JSON.stringify({ keys: keysObject(keys), threshold }));
const key = ed25519();
const expected: TimeExpected = {
  nonce: NONCE,
  authority: readTimeKeys(keysFile([key], 1)),
  latestKnown: KNOWN,
};
const honest: Body = { _type: 'Time', nonces: [NONCE], time: '2026-11-21T12:00:00Z' };

describe('the instant to judge by', () => {
  for (const [name, rtc] of [
    ['1970', Y1970],
    ['2100', Y2100],
  ] as const) {
    test(`is the signed time, whatever a clock in ${name} says (P2, §5.4.2.2)`, () => {
      assert.equal(effectiveNow({ rtc, latestKnown: KNOWN, attested: NOW }), NOW);
    });
  }

  test('is never before what is known, not even by a signature (P2, §5.4.2.2)', () => {
    assert.equal(effectiveNow({ rtc: Y1970, latestKnown: KNOWN }), KNOWN);
    assert.equal(effectiveNow({ rtc: NOW, latestKnown: KNOWN, attested: Y1970 }), KNOWN);
  });

  test('is moved on by the Date of a server, and never back', () => {
    assert.equal(effectiveNow({ rtc: Y1970, latestKnown: KNOWN, httpDate: NOW }), NOW);
    assert.equal(effectiveNow({ rtc: NOW, latestKnown: KNOWN, httpDate: KNOWN }), NOW);
  });

  test('is not moved on by a Date where there is a signed time: a gateway could expire everything', () => {
    const sources = { rtc: NOW, latestKnown: KNOWN, attested: NOW, httpDate: Y2100 };
    assert.equal(effectiveNow(sources), NOW);
  });

  const instants = fc.integer({ min: 0, max: 253_402_300_799_999 }).map((ms) => ms as Instant);
  const sources = fc.record(
    { rtc: instants, latestKnown: instants, attested: instants, httpDate: instants },
    { requiredKeys: ['rtc', 'latestKnown'] },
  );

  test('is one of the sources, and never before the latest known time (P2, §5.4.2.2)', () => {
    fc.assert(
      fc.property(sources, (given) => {
        const now = effectiveNow(given);
        assert.ok(now >= given.latestKnown);
        assert.ok(Object.values(given).includes(now));
      }),
    );
  });

  test('grows with each source: no later clock, Date, signature or floor makes it earlier', () => {
    const names = ['rtc', 'latestKnown', 'attested', 'httpDate'] as const;
    const later = fc.nat({ max: 2 ** 40 });
    fc.assert(
      fc.property(sources, fc.constantFrom(...names), later, (given, name, ms) => {
        const before = given[name];
        if (before === undefined) return;
        const moved = { ...given, [name]: (before + ms) as Instant };
        assert.ok(effectiveNow(moved) >= effectiveNow(given));
      }),
    );
  });
});

describe('a signed time (P2, §5.4.2.2)', () => {
  const verified = (body: Body, keys: readonly Key[] = [key], by = expected): Instant =>
    verifyTime(envelope(body, keys), by);
  const refuses = <C extends FailureCode>(
    body: Body,
    code: C,
    details: FailureDetails[C],
  ): void => {
    throwsCode(() => verified(body), code, details);
  };

  test('is believed when it was signed for this request', () => {
    assert.equal(verified(honest), NOW);
  });

  test('may answer several requests of one vehicle, in one signature', () => {
    assert.equal(verified({ ...honest, nonces: ['other', NONCE] }), NOW);
  });

  test('tolerates what a later server adds, under the signature', () => {
    assert.equal(verified({ ...honest, leap: { seconds: 37 } }), NOW);
  });

  test('that is no JSON is named as such', () => {
    const details = { path: 'time@0', want: 'a JSON value' };
    throwsCode(() => verifyTime(Buffer.from('<html>'), expected), 'METADATA_MALFORMED', details);
  });

  test('is refused without this nonce: an old answer played again', () => {
    const offered = 'e2a0b591-0000-4000-8000-00000000abcd';
    refuses({ ...honest, nonces: [offered] }, 'TIME_NOT_FRESH', { expected: NONCE, offered });
    refuses({ ...honest, nonces: [] }, 'TIME_NOT_FRESH', { expected: NONCE, offered: '' });
    refuses({ ...honest, nonces: ['a', 'b'] }, 'TIME_NOT_FRESH', {
      expected: NONCE,
      offered: 'a b',
    });
  });

  test('shows no more of foreign nonces than a log line can bear', () => {
    const offered = 'x'.repeat(100);
    refuses({ ...honest, nonces: [offered.repeat(9)] }, 'TIME_NOT_FRESH', {
      expected: NONCE,
      offered,
    });
  });

  test('is refused by another key, and when any of type, nonce and time was changed after signing', () => {
    const unsigned = { ...SUBJECT, valid: 0, threshold: 1 };
    throwsCode(() => verified(honest, [ed25519()]), 'THRESHOLD_NOT_MET', unsigned);
    const sent = Buffer.from(envelope(honest, [key])).toString();
    for (const [from, to] of [
      ['2026-11-21T12', '2026-11-21T13'],
      [NONCE, 'e2a0b591-0000-4000-8000-00000000abcd'],
      ['"Time"', '"time"'],
    ] as const) {
      const changed = Buffer.from(sent.replace(from, to));
      assert.notEqual(changed.toString(), sent);
      throwsCode(() => verifyTime(changed, expected), 'THRESHOLD_NOT_MET', unsigned);
    }
  });

  test('needs the threshold of different keys, and one key counts once', () => {
    const other = rsa();
    const two = { ...expected, authority: readTimeKeys(keysFile([key, other], 2)) };
    const one = { ...SUBJECT, valid: 1, threshold: 2 };
    throwsCode(() => verified(honest, [key, key], two), 'THRESHOLD_NOT_MET', one);
    assert.equal(verified(honest, [key, other], two), NOW);
  });

  test('is refused before the latest known time, with both (P2, §5.4.2.2)', () => {
    refuses({ ...honest, time: '2026-11-19T23:59:59Z' }, 'TIME_ROLLBACK', {
      latestKnownAt: '2026-11-20T00:00:00Z',
      offeredAt: '2026-11-19T23:59:59Z',
    });
  });

  test('of the second in which the latest known time lies is not before it', () => {
    const by = { ...expected, latestKnown: (NOW + 999) as Instant };
    assert.equal(verified(honest, [key], by), NOW);
    const next = { ...expected, latestKnown: (NOW + 1000) as Instant };
    throwsCode(() => verified(honest, [key], next), 'TIME_ROLLBACK', {
      latestKnownAt: '2026-11-21T12:00:01Z',
      offeredAt: '2026-11-21T12:00:00Z',
    });
  });

  test('is no other document that these keys may sign', () => {
    refuses({ ...honest, _type: 'Timestamp' }, 'ROLE_TYPE_MISMATCH', {
      ...SUBJECT,
      type: 'Timestamp',
    });
  });

  for (const [what, body, path, want] of [
    ['no time', { _type: 'Time', nonces: [NONCE] }, 'time.signed.time', 'a string'],
    ['a number as time', { ...honest, time: 1 }, 'time.signed.time', 'a string'],
    [
      'the year 10000',
      { ...honest, time: '+010000-01-01T00:00:00Z' },
      'time.signed.time',
      'a UTC instant',
    ],
    ['no nonces', { _type: 'Time', time: honest['time'] }, 'time.signed.nonces', 'an array'],
  ] as const) {
    test(`with ${what} is METADATA_MALFORMED`, () => {
      refuses(body, 'METADATA_MALFORMED', { path, want });
    });
  }

  test('any byte changed, left out or added never yields another time', () => {
    const sent = Buffer.from(envelope(honest, [key]));
    fc.assert(
      fc.property(
        fc.nat({ max: sent.length - 1 }),
        fc.integer({ min: 0, max: 255 }),
        (at, byte) => {
          for (const changed of [
            Buffer.concat([sent.subarray(0, at), Buffer.from([byte]), sent.subarray(at + 1)]),
            Buffer.concat([sent.subarray(0, at), sent.subarray(at + 1)]),
            Buffer.concat([sent.subarray(0, at), Buffer.from([byte]), sent.subarray(at)]),
          ]) {
            assert.ok([NOW, undefined].includes(timeOf(changed)));
          }
        },
      ),
    );
  });
});

test('a request is a list of one nonce in canonical JSON', () => {
  assert.equal(Buffer.from(timeRequest(NONCE)).toString(), `{"nonces":["${NONCE}"]}`);
});

describe('the keys of a time server', () => {
  for (const [what, keys, threshold, most] of [
    ['no key', [], 1, 0],
    ['fewer keys than the threshold', [key], 2, 1],
    ['one key under two ids', [key, { ...key, id: 'other' }], 2, 1],
    ['only keys of an unknown type', [{ ...key, keytype: 'future' }], 1, 0],
  ] as const) {
    test(`with ${what} could never sign, and are refused at the start`, () => {
      throwsCode(() => readTimeKeys(keysFile(keys, threshold)), 'METADATA_MALFORMED', {
        path: 'time_keys.threshold',
        want: `at most ${String(most)}, the number of different keys that can count`,
      });
    });
  }

  test('that are no JSON are named as such', () => {
    const details = { path: 'time_keys@0', want: 'a JSON value' };
    throwsCode(() => readTimeKeys(Buffer.from('')), 'METADATA_MALFORMED', details);
  });

  test('with a threshold of nobody are refused', () => {
    throwsCode(() => readTimeKeys(keysFile([key], 0)), 'METADATA_MALFORMED', {
      path: 'time_keys.threshold',
      want: 'an integer of at least 1',
    });
  });
});

/** `undefined` when it was refused; anything but a refusal fails the test. */
function timeOf(bytes: Uint8Array): Instant | undefined {
  try {
    return verifyTime(bytes, expected);
  } catch (error) {
    assert.equal((error as Error).name, 'OtaError', String(error));
    return undefined;
  }
}
