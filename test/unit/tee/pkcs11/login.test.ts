import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKF, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  hex,
  initPinArguments,
  initTokenArguments,
  pinArguments,
  setPinArguments,
  SO_PIN,
  TestTee,
  u32,
  USER_PIN,
  type TaClient,
} from './ta-client.ts';

const SO = 0;
const USER = 1;
const CONTEXT_SPECIFIC = 2;
/** Initialised, with both PINs set, nothing wrong. */
const READY = CKF.RNG | CKF.LOGIN_REQUIRED | CKF.USER_PIN_INITIALIZED | CKF.TOKEN_INITIALIZED;

function prepared(): {
  readonly tee: TestTee;
  readonly client: TaClient;
  readonly session: number;
} {
  const tee = new TestTee();
  const client = tee.connect();
  client.prepareToken();
  return { tee, client, session: client.openSession() };
}

describe('lock-out', () => {
  test('seven wrong user PINs lock the user out: low, final try, locked (PKCS#11 v2.40 §3.2)', () => {
    const { client, session } = prepared();
    const wrong = pinArguments(session, USER, '9999');
    const answers = Array.from({ length: 8 }, () => {
      const { rv } = client.call(CMD.LOGIN, wrong);
      return [hex(rv), hex(client.tokenFlags())];
    });

    const low = ['0xa0', '0x1040d'];
    const locked = ['0xa4', '0x7040d'];
    assert.deepEqual(answers, [low, low, low, low, low, ['0xa0', '0x3040d'], locked, locked]);
    client.refused(CKR.PIN_LOCKED, CMD.LOGIN, pinArguments(session, USER, USER_PIN));
  });

  test('a lock survives a restart, and only the SO opens it', () => {
    const { tee, client, session } = prepared();
    for (let guess = 0; guess < 7; guess += 1) {
      client.call(CMD.LOGIN, pinArguments(session, USER, '9999'));
    }
    tee.restart();
    const after = tee.connect();
    const reopened = after.openSession();

    after.refused(CKR.PIN_LOCKED, CMD.LOGIN, pinArguments(reopened, USER, USER_PIN));
    after.ok(CMD.LOGIN, pinArguments(reopened, SO, SO_PIN));
    after.ok(CMD.INIT_PIN, initPinArguments(reopened, '4321'));
    assert.equal(hex(after.tokenFlags()), hex(READY));
    after.ok(CMD.LOGOUT, u32(reopened));
    after.ok(CMD.LOGIN, pinArguments(reopened, USER, '4321'));
  });

  test('the right PIN forgets the wrong ones', () => {
    const { client, session } = prepared();
    for (let guess = 0; guess < 6; guess += 1) {
      client.refused(CKR.PIN_INCORRECT, CMD.LOGIN, pinArguments(session, USER, '9999'));
    }

    client.ok(CMD.LOGIN, pinArguments(session, USER, USER_PIN));

    assert.equal(hex(client.tokenFlags()), hex(READY));
    client.ok(CMD.LOGOUT, u32(session));
    client.refused(CKR.PIN_INCORRECT, CMD.LOGIN, pinArguments(session, USER, '9999'));
    assert.equal(hex(client.tokenFlags()), hex(READY | CKF.USER_PIN_COUNT_LOW));
  });

  test('a guess counts even when the power goes before the answer', () => {
    const { tee, client, session } = prepared();
    for (let guess = 0; guess < 9; guess += 1) {
      // Every write but the first of an attempt is lost, as with a cut right after it.
      cutPowerAfterWrites(tee, 1, () =>
        client.call(CMD.LOGIN, pinArguments(session, USER, '9999')),
      );
    }
    tee.restart();

    const after = tee.connect();
    const reopened = after.openSession();
    after.refused(CKR.PIN_LOCKED, CMD.LOGIN, pinArguments(reopened, USER, USER_PIN));
  });

  test('a locked SO PIN is for ever: not even a new initialisation opens it (§5.5)', () => {
    const { client, session } = prepared();
    const wrong = pinArguments(session, SO, '99999999');
    const rvs = Array.from({ length: 7 }, () => hex(client.call(CMD.LOGIN, wrong).rv));

    assert.deepEqual(rvs, [...Array<string>(6).fill('0xa0'), '0xa4']);
    const soFlags = CKF.SO_PIN_COUNT_LOW | CKF.SO_PIN_FINAL_TRY | CKF.SO_PIN_LOCKED;
    assert.equal(hex(client.tokenFlags()), hex(READY | soFlags));
    client.ok(CMD.CLOSE_SESSION, u32(session));
    client.refused(CKR.PIN_LOCKED, CMD.INIT_TOKEN, initTokenArguments(0, SO_PIN));
  });

  test('a wrong old PIN on C_SetPIN counts like a wrong login', () => {
    const { client, session } = prepared();

    client.refused(CKR.PIN_INCORRECT, CMD.SET_PIN, setPinArguments(session, '9999', '4321'));

    assert.equal(hex(client.tokenFlags()), hex(READY | CKF.USER_PIN_COUNT_LOW));
    client.ok(CMD.LOGIN, pinArguments(session, USER, USER_PIN));
  });
});

function cutPowerAfterWrites(tee: TestTee, writes: number, run: () => unknown): void {
  const write = tee.storage.write.bind(tee.storage);
  let left = writes;
  tee.storage.write = (...object): void => {
    if (left > 0) write(...object);
    left -= 1;
  };
  run();
  tee.storage.write = write;
}

describe('initialising a token (PKCS#11 v2.40 §5.5)', () => {
  test('a first SO PIN of a wrong length is ARGUMENTS_BAD, and the token stays blank', () => {
    const client = new TestTee().connect();
    const blank = client.tokenFlags();

    client.refused(CKR.ARGUMENTS_BAD, CMD.INIT_TOKEN, initTokenArguments(0, '123'));
    client.refused(CKR.ARGUMENTS_BAD, CMD.INIT_TOKEN, initTokenArguments(0, 'x'.repeat(129)));

    assert.equal(client.tokenFlags(), blank);
    assert.equal(hex(blank), '0x880005');
    client.ok(CMD.INIT_TOKEN, initTokenArguments(0, 'x'.repeat(128)));
    assert.equal(hex(client.tokenFlags()), '0x405');
  });

  test('keeps the SO PIN, removes the user PIN and every object', () => {
    const { client, session } = prepared();
    client.ok(CMD.LOGIN, pinArguments(session, USER, USER_PIN));
    client.create(session, attributes([CKA.CLASS, CKO.DATA], [CKA.TOKEN, true]));
    client.ok(CMD.CLOSE_SESSION, u32(session));

    client.refused(CKR.PIN_INCORRECT, CMD.INIT_TOKEN, initTokenArguments(0, '87654321'));
    client.ok(CMD.INIT_TOKEN, initTokenArguments(0, SO_PIN, 'again'));

    assert.equal(
      hex(client.tokenFlags()),
      hex(CKF.RNG | CKF.LOGIN_REQUIRED | CKF.TOKEN_INITIALIZED),
    );
    const reopened = client.openSession();
    assert.deepEqual(client.find(reopened, u32(0, 0)), []);
    client.refused(CKR.USER_PIN_NOT_INITIALIZED, CMD.LOGIN, pinArguments(reopened, USER, USER_PIN));
    client.ok(CMD.LOGIN, pinArguments(reopened, SO, SO_PIN));
  });

  test('is refused while anybody has a session with the token', () => {
    const { tee, client, session } = prepared();
    const other = tee.connect();

    other.refused(CKR.SESSION_EXISTS, CMD.INIT_TOKEN, initTokenArguments(0, SO_PIN));

    client.ok(CMD.CLOSE_SESSION, u32(session));
    other.ok(CMD.INIT_TOKEN, initTokenArguments(0, SO_PIN));
  });

  test('says which slot there is not', () => {
    const client = new TestTee().connect();
    client.refused(CKR.SLOT_ID_INVALID, CMD.INIT_TOKEN, initTokenArguments(3, SO_PIN));
  });
});

describe('logging in (PKCS#11 v2.40 §5.6)', () => {
  test('is for all sessions of the client with the token, and for no other client', () => {
    const { tee, client, session } = prepared();
    const second = client.openSession(0, 'read-only');
    const other = tee.connect();
    const others = other.openSession();

    client.ok(CMD.LOGIN, pinArguments(session, USER, USER_PIN));

    assert.deepEqual([client.state(session), client.state(second)], [3, 1]);
    assert.equal(client.state(client.openSession()), 3, 'a new session inherits it');
    assert.equal(other.state(others), 2);
    client.ok(CMD.LOGOUT, u32(second));
    assert.deepEqual([client.state(session), client.state(second)], [2, 0]);
  });

  test('ends with the last session', () => {
    const { client, session } = prepared();
    client.ok(CMD.LOGIN, pinArguments(session, USER, USER_PIN));
    client.ok(CMD.CLOSE_SESSION, u32(session));

    assert.equal(client.state(client.openSession()), 2);
  });

  test('as one user excludes the other', () => {
    const { client, session } = prepared();
    client.ok(CMD.LOGIN, pinArguments(session, SO, SO_PIN));

    assert.equal(client.state(session), 4);
    client.refused(CKR.USER_ALREADY_LOGGED_IN, CMD.LOGIN, pinArguments(session, SO, SO_PIN));
    client.refused(
      CKR.USER_ANOTHER_ALREADY_LOGGED_IN,
      CMD.LOGIN,
      pinArguments(session, USER, USER_PIN),
    );
  });

  test('as SO does not go with read-only sessions, in either order', () => {
    const { client, session } = prepared();
    const readOnly = client.openSession(0, 'read-only');

    client.refused(CKR.SESSION_READ_ONLY_EXISTS, CMD.LOGIN, pinArguments(session, SO, SO_PIN));
    client.ok(CMD.CLOSE_SESSION, u32(readOnly));
    client.ok(CMD.LOGIN, pinArguments(session, SO, SO_PIN));
    client.refused(CKR.SESSION_READ_WRITE_SO_EXISTS, CMD.OPEN_SESSION, u32(0, 4), { room: 4 });
  });

  test('for one use of a key is never possible, as with OP-TEE', () => {
    const { client, session } = prepared();

    client.refused(
      CKR.OPERATION_NOT_INITIALIZED,
      CMD.LOGIN,
      pinArguments(session, CONTEXT_SPECIFIC, USER_PIN),
    );
    client.refused(CKR.USER_TYPE_INVALID, CMD.LOGIN, pinArguments(session, 3, USER_PIN));
  });

  test('as SO of a token that has no owner is refused and does not count', () => {
    const client = new TestTee().connect();
    const session = client.openSession();
    for (let guess = 0; guess < 8; guess += 1) {
      client.refused(CKR.PIN_INCORRECT, CMD.LOGIN, pinArguments(session, SO, SO_PIN));
    }
    assert.equal(hex(client.tokenFlags()), '0x880005');
  });
});

describe('changing PINs (PKCS#11 v2.40 §5.5)', () => {
  test('needs a read-write session and the old PIN, and no login', () => {
    const { client, session } = prepared();
    const readOnly = client.openSession(0, 'read-only');

    client.refused(CKR.SESSION_READ_ONLY, CMD.SET_PIN, setPinArguments(readOnly, USER_PIN, '4321'));
    client.refused(CKR.PIN_LEN_RANGE, CMD.SET_PIN, setPinArguments(session, USER_PIN, '123'));
    client.ok(CMD.SET_PIN, setPinArguments(session, USER_PIN, '4321'));

    client.refused(CKR.PIN_INCORRECT, CMD.LOGIN, pinArguments(session, USER, USER_PIN));
    client.ok(CMD.LOGIN, pinArguments(session, USER, '4321'));
  });

  test('changes the SO PIN in an SO session', () => {
    const { client, session } = prepared();
    client.ok(CMD.LOGIN, pinArguments(session, SO, SO_PIN));

    client.ok(CMD.SET_PIN, setPinArguments(session, SO_PIN, '87654321'));

    client.ok(CMD.CLOSE_SESSION, u32(session));
    client.refused(CKR.PIN_INCORRECT, CMD.INIT_TOKEN, initTokenArguments(0, SO_PIN));
    client.ok(CMD.INIT_TOKEN, initTokenArguments(0, '87654321'));
  });

  test('a user PIN is set by the SO alone', () => {
    const { client, session } = prepared();

    client.refused(CKR.USER_NOT_LOGGED_IN, CMD.INIT_PIN, initPinArguments(session, '4321'));
    client.ok(CMD.LOGIN, pinArguments(session, USER, USER_PIN));
    client.refused(CKR.USER_NOT_LOGGED_IN, CMD.INIT_PIN, initPinArguments(session, '4321'));
    client.ok(CMD.LOGOUT, u32(session));
    client.ok(CMD.LOGIN, pinArguments(session, SO, SO_PIN));
    client.refused(CKR.PIN_LEN_RANGE, CMD.INIT_PIN, initPinArguments(session, '123'));
    client.ok(CMD.INIT_PIN, initPinArguments(session, '4321'));
  });
});
