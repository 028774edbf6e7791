import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  commandsSent,
  fillAnswer,
  readCornerCalls,
  type CornerCall,
} from './support-tee-corners.ts';
import { DriverSuite } from './support-tee-drivers.ts';
import { taReply } from './support-tee-ta-calls.ts';

type Difference = Partial<Omit<CornerCall, 'call'>>;

/** libckteec cuts off what does not fit 32 bits, and then names something else. */
const TOO_LARGE: Readonly<Record<string, Difference>> = {
  'close_session 0x100000001': { sent: ['7 ffffffff - -'] },
  'get_mechanism_info 1 0x100000000': { sent: ['5 01000000ffffffff - out:12'] },
  'open_session 0x100000002 6': { sent: ['6 ffffffff06000000 - out:4'] },
};

/** libckteec shortens a list that ends within an element, and drops data that a NULL claims to have. */
const MALFORMED: Readonly<Record<string, Difference>> = {
  'create_object 9 0x40000211=x000000': { printed: '0x13', sent: [] },
  'create_object 9 0x40000600=x000000': { printed: '0x13', sent: [] },
  'init encrypt 9 0x1087:gcm:x0a:null*2:96 8': { printed: '0x71', sent: [] },
};

/** PKCS#11 v2.40 §5.7: a buffer that is too small, and the length of a list of CK_ULONG. */
const ATTRIBUTES: Readonly<Record<string, Difference>> = {
  'get_attribute_value 9 8 0x100=4': {
    printed: '0x150 0x100=unavailable',
    sent: ['38 090000000800000008000000010000000001000000000000 - out:16'],
  },
  'get_attribute_value 9 8 0x40000600=null': { printed: '0x0 0x40000600=8' },
};

/** libckteec cannot register NULL, or does without the TA; ours sends nothing at NULL as nothing. */
const NOTHING: Readonly<Record<string, Difference>> = {
  'generate_random 9 null': { sent: ['42 09000000 - out:0'] },
  'seed_random 9 null': { sent: ['41 09000000 in: -'] },
  'sign_update 9 null': { printed: '0x0', sent: ['27 09000000 in: -'] },
  'unwrap_key 9 0x1081 8 null 0x3=x61': {
    printed: '0x0 handle=16843009',
    sent: [
      '52 09000000080000008110000000000000' + '0900000001000000030000000100000061' + ' in: out:4',
    ],
  },
};

const ON_PURPOSE: Readonly<Record<string, Difference>> = {
  ...TOO_LARGE,
  ...MALFORMED,
  ...ATTRIBUTES,
  ...NOTHING,
};

describe('Cryptoki in the corners of PKCS#11', () => {
  const suite = new DriverSuite('cryptoki-driver');
  const theirs = readCornerCalls();

  test('prints and sends what libckteec does, but for what is better on purpose', async () => {
    const expected = theirs.map((corner) => ({ ...corner, ...ON_PURPOSE[corner.call] }));
    suite.world.reply = taReply(fillAnswer);
    const { lines } = await suite.run(['initialize', ...expected.map(({ call }) => call)]);
    assert.deepEqual(
      expected.map(({ call }, index) => [call, lines[index + 1]]),
      expected.map(({ call, printed }) => [call, printed]),
    );
    assert.deepEqual(
      commandsSent(suite.world.frames),
      expected.flatMap(({ sent }) => sent),
    );
  });

  test('differs where it says so: every exception is one', () => {
    for (const [call, difference] of Object.entries(ON_PURPOSE)) {
      const corner = theirs.find((candidate) => candidate.call === call);
      assert.ok(corner, call);
      assert.notDeepEqual({ ...corner, ...difference }, corner);
    }
  });
});
