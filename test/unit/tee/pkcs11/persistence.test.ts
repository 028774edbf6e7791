/** What is on the token after a restart, a power cut, or somebody else's hands on storage. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKF, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { openMemoryStorage } from '../../../tee/secure-world/storage/memory-storage.ts';
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
  type TrustedStorage,
} from '../../../tee/secure-world/storage/trusted-storage.ts';
import { readWhole, replaceWhole } from '../../../tee/secure-world/storage/whole-object.ts';
import {
  attributes,
  initTokenArguments,
  mechanism,
  P256,
  pinArguments,
  SO_PIN,
  TestTee,
  u32,
  USER_PIN,
  type TaClient,
} from './ta-client.ts';

const TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
const TARGET_DEAD = 0xffff_3024;
const KEY_ON_TOKEN = [
  attributes([CKA.EC_PARAMS, P256], [CKA.TOKEN, true], [CKA.VERIFY, true]),
  attributes([CKA.TOKEN, true], [CKA.PRIVATE, true], [CKA.SENSITIVE, true], [CKA.SIGN, true]),
] as const;

function loggedIn(tee: TestTee): { readonly client: TaClient; readonly session: number } {
  const client = tee.connect();
  const session = client.openSession();
  client.ok(CMD.LOGIN, pinArguments(session, 1, USER_PIN));
  return { client, session };
}

test('a pair signs after a restart as before, and is as secret', () => {
  const tee = new TestTee();
  const before = tee.connectUser();
  const { publicKey } = before.client.generatePair(
    before.session,
    CKM.EC_KEY_PAIR_GEN,
    ...KEY_ON_TOKEN,
  );
  const point = before.client.attribute(before.session, publicKey, CKA.EC_POINT);
  tee.restart();

  const { client, session } = loggedIn(tee);
  const [verifier] = client.find(session, attributes([CKA.CLASS, CKO.PUBLIC_KEY]));
  const [signer] = client.find(session, attributes([CKA.CLASS, CKO.PRIVATE_KEY]));
  assert.ok(verifier !== undefined && signer !== undefined);
  assert.deepEqual(client.attribute(session, verifier, CKA.EC_POINT), point);
  assert.equal(client.attribute(session, signer, CKA.VALUE), undefined);
  const signature = client.sign(session, signer, mechanism(CKM.ECDSA), Buffer.alloc(32, 1));
  const data = { data: Buffer.alloc(32, 1), signature };
  assert.equal(client.verify(session, verifier, mechanism(CKM.ECDSA), data), CKR.OK);
});

test('session objects, logins and handles do not survive; changes to token objects do', () => {
  const tee = new TestTee();
  const before = tee.connectUser();
  before.client.create(before.session, attributes([CKA.CLASS, CKO.DATA]));
  const kept = before.client.create(
    before.session,
    attributes([CKA.CLASS, CKO.DATA], [CKA.TOKEN, true], [CKA.LABEL, 'old']),
  );
  const change = Buffer.concat([u32(before.session, kept), attributes([CKA.LABEL, 'new'])]);
  before.client.ok(CMD.SET_ATTRIBUTE_VALUE, change);
  tee.restart();

  const client = tee.connect();
  const session = client.openSession();
  assert.equal(client.state(session), 2);
  const [object, ...others] = client.find(session, attributes());
  assert.deepEqual(others, []);
  assert.deepEqual(client.attribute(session, object ?? 0, CKA.LABEL), Buffer.from('new'));
});

test('a destroyed object is gone from storage', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const blank = tee.storage.list(TA).length;
  const object = client.create(session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true]));
  assert.equal(tee.storage.list(TA).length, blank + 1);

  client.ok(CMD.DESTROY_OBJECT, u32(session, object));

  assert.equal(tee.storage.list(TA).length, blank);
});

test('the record is OP-TEE’s, byte for byte (struct token_persistent_main)', () => {
  const tee = new TestTee();
  const client = tee.connect();
  client.prepareToken();
  const id = Buffer.concat([Buffer.from('token.db.0')], 32);
  const record = Buffer.from(readWhole(tee.storage, TA, id) ?? []);

  assert.equal(record.byteLength, 188);
  assert.equal(record.readUInt32LE(0), 0, 'version');
  assert.equal(record.toString('latin1', 4, 36), 'demo'.padEnd(32));
  const ready = CKF.RNG | CKF.LOGIN_REQUIRED | CKF.USER_PIN_INITIALIZED | CKF.TOKEN_INITIALIZED;
  assert.equal(record.readUInt32LE(36), ready);
  assert.deepEqual([record.readUInt32LE(40), record.readUInt32LE(112)], [0, 0], 'failures');
  assert.deepEqual(record.subarray(80, 112), Buffer.alloc(32), 'a hash has 32 of 64 bytes');
  assert.equal(record.readUInt32LE(184), 0, 'objects');
});

test('a token that OP-TEE wrote opens with its PINs: salt, hash and what an old list left behind', () => {
  // Written by OP-TEE 4.x: SO PIN 12345678, user PIN 12345, no objects, 32 bytes of a longer list.
  const record = Buffer.from(
    '00000000504b43533131205441207465737420746f6b656e0000000000010203040506070d04000000000000' +
      'e4019797fc84763e68edade0be78115986c75cb3e717513e60fd3e36f1fc7234e05fd31e' +
      '00'.repeat(32) +
      '00000000acd89144a586ef6bc5f7f0e1685cf886c89c273f19d25c186b7c9de526a7be05efd1a610' +
      '00'.repeat(32) +
      '000000009f00c7368c5c249fb2a95e035cad42679b4a4e2b09097b6d2d4f116dff55b21a',
    'hex',
  );
  const storage = openMemoryStorage();
  replaceWhole(storage, TA, { id: Buffer.concat([Buffer.from('token.db.2')], 32), data: record });
  const client = new TestTee(storage).connect();
  const session = client.openSession(2);

  client.refused(CKR.PIN_INCORRECT, CMD.LOGIN, pinArguments(session, 1, '54321'));
  client.ok(CMD.LOGIN, pinArguments(session, 1, '12345'));
  assert.deepEqual(client.find(session, attributes()), []);
  client.ok(CMD.LOGOUT, u32(session));
  client.ok(CMD.LOGIN, pinArguments(session, 0, '12345678'));
});

test('an object without an owner, left by a power cut, is swept at start', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const kept = client.create(session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true]));
  assert.equal(kept, 1);
  const before = tee.storage.list(TA).length;
  tee.storage.write(TA, Buffer.alloc(16, 9), Buffer.alloc(30));

  tee.restart();

  assert.equal(loggedIn(tee).client.find(1, attributes()).length, 1);
  assert.equal(tee.storage.list(TA).length, before);
});

test('an object that was tampered with is not there, and comes back with its bytes', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  client.create(session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true], [CKA.LABEL, 'good']));
  client.create(session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true], [CKA.LABEL, 'bad']));
  const bad = tee.storage.list(TA).at(-1) ?? Buffer.alloc(0);
  const read = tee.storage.read.bind(tee.storage);
  tee.storage.read = (ta, id) => {
    if (Buffer.compare(id, bad) === 0)
      throw new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, 'bad tag');
    return read(ta, id);
  };
  tee.restart();

  const during = loggedIn(tee);
  const [good, ...rest] = during.client.find(during.session, attributes());
  assert.deepEqual(rest, []);
  assert.ok(good !== undefined);
  assert.deepEqual(during.client.attribute(during.session, good, CKA.LABEL), Buffer.from('good'));
  during.client.create(during.session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true]));
  tee.storage.read = read;
  tee.restart();
  assert.equal(loggedIn(tee).client.find(1, attributes()).length, 3);
  assert.deepEqual(tee.panics, []);
});

test('a full disk refuses an object and leaves the token as it was', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const object = client.create(session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true]));
  const write = tee.storage.write.bind(tee.storage);
  tee.storage.write = () => {
    throw new StorageFailure(TEE_ERROR_STORAGE_NO_SPACE, 'no space');
  };

  const control = Buffer.concat([u32(session), attributes([CKA.CLASS, 0], [CKA.TOKEN, true])]);
  client.refused(CKR.DEVICE_MEMORY, CMD.CREATE_OBJECT, control, { room: 4 });
  const change = Buffer.concat([u32(session, object), attributes([CKA.LABEL, 'new'])]);
  client.refused(CKR.DEVICE_MEMORY, CMD.SET_ATTRIBUTE_VALUE, change);

  tee.storage.write = write;
  assert.deepEqual(client.attribute(session, object, CKA.LABEL), Buffer.alloc(0));
  assert.deepEqual(client.find(session, attributes()), [object]);
});

test('a disk that is full half-way through a pair leaves none of it', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const write = tee.storage.write.bind(tee.storage);
  let writes = 0;
  tee.storage.write = (...object) => {
    writes += 1;
    // The public key, and then there is no room for the private key.
    if (writes === 2) throw new StorageFailure(TEE_ERROR_STORAGE_NO_SPACE, 'no space');
    write(...object);
  };

  const control = Buffer.concat([u32(session, CKM.EC_KEY_PAIR_GEN, 0), ...KEY_ON_TOKEN]);
  client.refused(CKR.DEVICE_MEMORY, CMD.GENERATE_KEY_PAIR, control, { room: 8 });

  assert.deepEqual(client.find(session, attributes()), []);
  assert.equal(tee.storage.list(TA).length, 3);
});

test('an object that is stored but makes no sense is not there, and hides no other', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  client.create(session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true]));
  client.create(session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true]));
  const last = tee.storage.list(TA).at(-1) ?? Buffer.alloc(0);
  replaceWhole(tee.storage, TA, { id: last, data: Buffer.alloc(7) });
  tee.restart();

  const after = loggedIn(tee);
  assert.equal(after.client.find(after.session, attributes()).length, 1);
});

test('storage that is not there kills the TA rather than lose what it cannot see', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  client.create(session, attributes([CKA.CLASS, 0], [CKA.TOKEN, true]));
  tee.restart();
  const after = tee.connect();
  const reopened = after.openSession();
  const read = tee.storage.read.bind(tee.storage);
  tee.storage.read = () => {
    throw new StorageFailure(TEE_ERROR_STORAGE_NOT_AVAILABLE, 'gone');
  };

  const search = Buffer.concat([u32(reopened), attributes()]);
  assert.equal(after.call(CMD.FIND_OBJECTS_INIT, search).result, TARGET_DEAD);

  tee.storage.read = read;
  const again = tee.connect();
  assert.equal(again.find(again.openSession(), attributes()).length, 1);
});

test('a record of another version, or one cut short, is not taken for a blank token', () => {
  const id = Buffer.concat([Buffer.from('token.db.0')], 32);
  const tee = new TestTee();
  tee.connect().prepareToken();
  const good = Buffer.from(readWhole(tee.storage, TA, id) ?? []);
  const other = Buffer.from(good);
  other.writeUInt32LE(1, 0);
  const longer = Buffer.from(good);
  longer.writeUInt32LE(1, 184);
  for (const bad of [other, longer, good.subarray(0, 100)]) {
    replaceWhole(tee.storage, TA, { id, data: bad });
    tee.restart();
    assert.equal(tee.open().result, TARGET_DEAD);
    assert.deepEqual(Buffer.from(readWhole(tee.storage, TA, id) ?? []), Buffer.from(bad));
  }
});

test('a record that cannot be written kills the TA rather than let a guess go uncounted', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  client.ok(CMD.LOGOUT, u32(session));
  const write = tee.storage.write.bind(tee.storage);
  tee.storage.write = () => {
    throw new StorageFailure(TEE_ERROR_STORAGE_NO_SPACE, 'no space');
  };

  const guess = client.call(CMD.LOGIN, pinArguments(session, 1, USER_PIN));

  assert.deepEqual([guess.result, guess.origin], [TARGET_DEAD, 3]);
  assert.equal(tee.panics.length, 1);
  assert.equal(client.call(CMD.PING, u32(0), { room: 12 }).result, TARGET_DEAD);
  tee.storage.write = write;
  loggedIn(tee);
});

test('whenever the power goes while a pair is made, there is no pair or the whole of it', () => {
  for (let writes = 0; writes <= 3; writes += 1) {
    const tee = new TestTee();
    const { client, session } = tee.connectUser();
    const restore = loseWritesAfter(tee.storage, writes);
    client.generatePair(session, CKM.EC_KEY_PAIR_GEN, ...KEY_ON_TOKEN);
    restore();
    tee.restart();

    const after = loggedIn(tee);
    const halves = after.client.find(after.session, attributes());
    assert.equal(halves.length, writes === 3 ? 2 : 0, `after ${String(writes)} writes`);
    assert.equal(
      tee.storage.list(TA).length,
      3 + halves.length,
      'nothing is left without an owner',
    );
  }
});

test('whenever the power goes while a token is initialised, the SO PIN holds and no key is left half', () => {
  for (let writes = 0; writes <= 3; writes += 1) {
    const tee = new TestTee();
    const { client, session } = tee.connectUser();
    client.generatePair(session, CKM.EC_KEY_PAIR_GEN, ...KEY_ON_TOKEN);
    client.ok(CMD.CLOSE_SESSION, u32(session));
    const restore = loseWritesAfter(tee.storage, writes);
    client.call(CMD.INIT_TOKEN, initTokenArguments(0, SO_PIN));
    restore();
    tee.restart();

    const after = tee.connect();
    const objects = tee.storage.list(TA).length - 3;
    assert.equal(objects, writes === 3 ? 0 : 2, `after ${String(writes)} writes`);
    after.ok(CMD.INIT_TOKEN, initTokenArguments(0, SO_PIN));
    assert.equal(tee.storage.list(TA).length, 3);
  }
});

/** The machine goes on, its disk does not: what is written after `writes` more is lost. */
function loseWritesAfter(storage: TrustedStorage, writes: number): () => void {
  const write = storage.write.bind(storage);
  const remove = storage.remove.bind(storage);
  let left = writes;
  storage.write = (...object): void => {
    if (left > 0) write(...object);
    left -= 1;
  };
  storage.remove = (...object): boolean => left > 0 && remove(...object);
  return () => {
    storage.write = write;
    storage.remove = remove;
  };
}
