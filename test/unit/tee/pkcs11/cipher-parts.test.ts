/** Ciphers that keep data back or take vectors of any size, the same in strict mode and the default. */
import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, mechanism, TestTee, u32, type TaClient } from './ta-client.ts';

const KEY = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const VECTOR = Buffer.alloc(16, 3);

interface Keyed {
  readonly client: TaClient;
  readonly session: number;
  readonly key: number;
}

function aesKey(tee: TestTee): Keyed {
  const { client, session } = tee.connectUser();
  const template = attributes(
    [CKA.CLASS, CKO.SECRET_KEY],
    [CKA.KEY_TYPE, CKK.AES],
    [CKA.VALUE, KEY],
    [CKA.ENCRYPT, true],
    [CKA.DECRYPT, true],
  );
  return { client, session, key: client.create(session, template) };
}

function init({ client, session, key }: Keyed, command: number, how: Buffer): number | undefined {
  return client.call(command, Buffer.concat([u32(session, key), how])).rv;
}

describe('ciphers in parts', () => {
  test('CTS keeps two blocks back, and its parts are those of the whole (CBC-CS3)', () => {
    const keyed = aesKey(TestTee.strict());
    const { client, session } = keyed;
    const text = randomBytes(83);
    init(keyed, CMD.ENCRYPT_INIT, mechanism(CKM.AES_CTS, VECTOR));
    const whole = client.ok(CMD.ENCRYPT_ONESHOT, u32(session), { input: text, room: 83 });
    init(keyed, CMD.ENCRYPT_INIT, mechanism(CKM.AES_CTS, VECTOR));
    const step = (command: number, input?: Buffer): Buffer =>
      client.ok(command, u32(session), input === undefined ? { room: 99 } : { input, room: 99 });
    const parts = [
      step(CMD.ENCRYPT_UPDATE, text.subarray(0, 33)),
      step(CMD.ENCRYPT_UPDATE, text.subarray(33)),
      step(CMD.ENCRYPT_FINAL),
    ];
    assert.deepEqual(
      parts.map(({ byteLength }) => byteLength),
      [16, 48, 19],
    );
    assert.deepEqual(Buffer.concat(parts), whole);
    const judge = createDecipheriv('aes-128-cbc', KEY, VECTOR).setAutoPadding(false);
    assert.deepEqual(judge.update(whole.subarray(0, 64)), text.subarray(0, 64));
  });

  test('GCM takes vectors of up to 256 bytes, in parts, with tags that are cut (SP 800-38D)', () => {
    const vector = randomBytes(256);
    const aad = Buffer.from('aad');
    const parameter = Buffer.concat([u32(256), vector, u32(3), aad, u32(96)]);
    const how = mechanism(CKM.AES_GCM, parameter);
    const keyed = aesKey(TestTee.strict());
    const { client, session } = keyed;
    const text = randomBytes(50);
    const one = u32(session);

    init(keyed, CMD.ENCRYPT_INIT, how);
    const parts = [text.subarray(0, 20), text.subarray(20)].map((input) =>
      client.ok(CMD.ENCRYPT_UPDATE, one, { input, room: input.byteLength }),
    );
    const sealed = Buffer.concat([...parts, client.ok(CMD.ENCRYPT_FINAL, one, { room: 12 })]);

    const counter = counterOf(vector);
    assert.deepEqual(
      createCipheriv('aes-128-ctr', KEY, counter).update(text),
      sealed.subarray(0, 50),
    );
    init(keyed, CMD.DECRYPT_INIT, how);
    assert.deepEqual(client.ok(CMD.DECRYPT_ONESHOT, one, { input: sealed, room: 50 }), text);
    for (const at of [0, 61]) {
      const bent = Buffer.from(sealed);
      bent.writeUInt8(bent.readUInt8(at) ^ 1, at);
      init(keyed, CMD.DECRYPT_INIT, how);
      const data = { input: bent, room: 50 };
      client.refused(CKR.SIGNATURE_INVALID, CMD.DECRYPT_ONESHOT, one, data);
    }
  });

  test('a GCM tag that is wrong is said before a buffer that is too small', () => {
    const how = mechanism(CKM.AES_GCM, Buffer.concat([u32(12), Buffer.alloc(12), u32(0, 128)]));
    const keyed = aesKey(TestTee.strict());
    init(keyed, CMD.DECRYPT_INIT, how);
    const data = { input: Buffer.alloc(40), room: 0 };
    keyed.client.refused(CKR.SIGNATURE_INVALID, CMD.DECRYPT_ONESHOT, u32(keyed.session), data);
  });
});

/** The first counter block after that of the tag, for a vector that is not 12 bytes: §7.1 step 2. */
function counterOf(vector: Buffer): Buffer {
  const hashKey = toNumber(createCipheriv('aes-128-ecb', KEY, null).update(Buffer.alloc(16)));
  const length = Buffer.alloc(16);
  length.writeBigUInt64BE(BigInt(8 * vector.byteLength), 8);
  let hash = 0n;
  for (const block of [...blocksOf(vector), length])
    hash = product(hash ^ toNumber(block), hashKey);
  const counter = Buffer.from(hash.toString(16).padStart(32, '0'), 'hex');
  counter.writeUInt32BE((counter.readUInt32BE(12) + 1) >>> 0, 12);
  return counter;
}

function blocksOf(bytes: Buffer): readonly Buffer[] {
  return Array.from({ length: bytes.byteLength / 16 }, (_, at) =>
    bytes.subarray(16 * at, 16 * at + 16),
  );
}

/** Multiplication in GF(2^128): §6.3. */
function product(x: bigint, y: bigint): bigint {
  let z = 0n;
  let v = y;
  for (let bit = 127n; bit >= 0n; bit -= 1n) {
    if (((x >> bit) & 1n) === 1n) z ^= v;
    v = (v & 1n) === 1n ? (v >> 1n) ^ (0xe1n << 120n) : v >> 1n;
  }
  return z;
}

function toNumber(block: Buffer): bigint {
  return BigInt(`0x${block.toString('hex')}`);
}
