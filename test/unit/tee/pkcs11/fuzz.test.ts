import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM, MECHANISMS } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { Memory, packTypes, type Parameter } from '../../../tee/secure-world/world/operation.ts';
import {
  attributes,
  ED25519,
  P256,
  signingPair,
  TestTee,
  u32,
  type TaClient,
  type TemplateValue,
} from './ta-client.ts';

/** Making keys is slow and reads the same templates as everything else; it has a property of its own. */
const SLOW: ReadonlySet<number> = new Set([CMD.GENERATE_KEY_PAIR]);
const COMMANDS = Object.values(CMD).filter((command) => !SLOW.has(command));

/** A sensitive key: extractable only under another key, never in clear. */
const SECRET = Buffer.from('5ec2e75ec2e75ec2e75ec2e75ec2e700', 'hex');

/** A TA with something of everything: keys, a certificate, data, and operations in progress. */
function busyTa(): { readonly tee: TestTee; readonly client: TaClient; readonly session: number } {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  client.generatePair(session, CKM.EC_KEY_PAIR_GEN, ...signingPair([CKA.EC_PARAMS, P256]));
  client.generatePair(
    session,
    CKM.EC_EDWARDS_KEY_PAIR_GEN,
    ...signingPair([CKA.EC_PARAMS, ED25519], [CKA.KEY_TYPE, CKK.EC_EDWARDS]),
  );
  client.generatePair(session, CKM.RSA_PKCS_KEY_PAIR_GEN, ...signingPair([CKA.MODULUS_BITS, 1024]));
  const every: readonly (readonly [number, TemplateValue])[] = [
    CKA.ENCRYPT,
    CKA.DECRYPT,
    CKA.SIGN,
    CKA.VERIFY,
    CKA.WRAP,
    CKA.UNWRAP,
    CKA.DERIVE,
    CKA.EXTRACTABLE,
  ].map((id) => [id, true] as const);
  for (const type of [CKK.GENERIC_SECRET, CKK.AES, CKK.SHA256_HMAC]) {
    client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, type],
        [CKA.VALUE, Buffer.alloc(32, 3)],
        ...every,
      ),
    );
  }
  client.create(session, attributes([CKA.CLASS, CKO.DATA], [CKA.TOKEN, true]));
  client.create(
    session,
    attributes(
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      [CKA.VALUE, SECRET],
      [CKA.SENSITIVE, true],
      ...every,
    ),
  );
  return { tee, client, session };
}

function operation(types: readonly number[], bytes: Uint8Array, data: Uint8Array, room: number) {
  const parameters = types.map((type, index): Parameter => {
    if (type === 0) return { kind: 'none' };
    if (type < 4) return { kind: 'value', a: room, b: 1 };
    if (type === 6) return new Memory(Buffer.alloc(0), room, false);
    const sent = index === 0 ? bytes : data;
    return new Memory(sent, sent.byteLength, false);
  });
  const [p0 = NONE, p1 = NONE, p2 = NONE, p3 = NONE] = parameters;
  const [t0 = 0, t1 = 0, t2 = 0, t3 = 0] = types;
  return { types: packTypes(t0, t1, t2, t3), parameters: [p0, p1, p2, p3] } as const;
}

const NONE = { kind: 'none' } as const;
const small = fc.integer({ min: 0, max: 14 });
const word = fc.oneof(
  { weight: 6, arbitrary: small },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
  { weight: 2, arbitrary: fc.constantFrom(...Object.values(CKA)) },
  { weight: 2, arbitrary: fc.constantFrom(...MECHANISMS.map(({ id }) => id)) },
);
/** Numbers that mean something, in the places where numbers are. */
const words = fc.array(word, { maxLength: 16 }).map((values) => u32(...values));
const template = fc
  .array(
    fc.tuple(
      fc.constantFrom(...Object.values(CKA)),
      fc.oneof(fc.boolean(), small, fc.uint8Array({ maxLength: 40 }), fc.constant(P256)),
    ),
    { maxLength: 8 },
  )
  .map((entries) => attributes(...(entries as (readonly [number, TemplateValue])[])));
const control = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  words,
  fc.tuple(words, template).map((parts) => Buffer.concat(parts)),
  fc.tuple(words, template, template).map((parts) => Buffer.concat(parts)),
  fc
    .tuple(small, small, word, fc.uint8Array({ maxLength: 40 }))
    .map(([session, key, id, bytes]) => {
      return Buffer.concat([u32(session, key, id, bytes.byteLength), bytes]);
    }),
);
const types = fc.oneof(
  fc.constantFrom(
    [7, 0, 0, 0],
    [7, 5, 0, 0],
    [7, 0, 6, 0],
    [7, 5, 6, 0],
    [7, 0, 5, 0],
    [7, 5, 5, 0],
  ),
  fc.array(fc.constantFrom(0, 1, 2, 3, 5, 6, 7), { minLength: 4, maxLength: 4 }),
);
const step = fc.record({
  command: fc.oneof(fc.constantFrom(...COMMANDS), fc.integer({ min: 51, max: 60 })),
  types,
  control,
  data: fc.uint8Array({ maxLength: 300 }),
  room: fc.constantFrom(0, 4, 8, 12, 16, 20, 64, 104, 160, 256, 400),
});

test('no command with any bytes kills the TA, or gets a sensitive value out of it (fuzz)', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      const { tee, client } = busyTa();
      for (const { command, types: shape, control: bytes, data, room } of steps) {
        const { output } = client.raw(command, operation(shape, bytes, data, room));
        assert.equal(output.indexOf(SECRET), -1);
      }
      assert.deepEqual(tee.panics, []);
      assert.equal(client.call(CMD.PING, u32(0), { room: 12 }).rv, 0);
    }),
    { numRuns: 60 },
  );
});

test('no template for a pair kills the TA (fuzz)', () => {
  const { tee, client, session } = busyTa();
  const mechanisms = [CKM.EC_KEY_PAIR_GEN, CKM.EC_EDWARDS_KEY_PAIR_GEN, CKM.RSA_PKCS_KEY_PAIR_GEN];
  fc.assert(
    fc.property(fc.constantFrom(...mechanisms), template, template, (id, one, other) => {
      const bytes = Buffer.concat([u32(session, id, 0), one, other]);
      client.raw(CMD.GENERATE_KEY_PAIR, operation([7, 0, 6, 0], bytes, Buffer.alloc(0), 8));
      assert.deepEqual(tee.panics, []);
    }),
    { numRuns: 300 },
  );
});
