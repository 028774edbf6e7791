/** The whole stack: an application, the C library, the socket, the TA, OP-TEE's storage format. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import pkcs11 from 'pkcs11js';

import { temporaryDirectory } from '../support/temporary.ts';
import { buildDrivers } from './support-tee-drivers.ts';
import { SecureWorld } from './tee-secure-world-process.ts';

const LIBRARY = join(import.meta.dirname, '../tee/build/libtee-cryptoki.so');
const SO_PIN = '12345678';
const USER_PIN = '1234';
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
const MESSAGE = Buffer.from('message');
const READ_WRITE = pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION;
const GENERATE_EC = { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN };
const ON_TOKEN = { type: pkcs11.CKA_TOKEN, value: true };
const CKR_DEVICE_GONE: readonly number[] = [pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_DEVICE_REMOVED];

const directory = temporaryDirectory('stack');
const socket = join(directory.path, 'socket');
let world: SecureWorld;

before(async () => {
  buildDrivers('plain');
  process.env['OTA_TEE_SOCKET'] = socket;
  world = await start();
});

after(async () => {
  await world.end();
  directory.remove();
});

function start(): Promise<SecureWorld> {
  return SecureWorld.start('--storage', join(directory.path, 's'), '--socket', socket);
}

function open(): { readonly token: pkcs11.PKCS11; readonly slot: pkcs11.Handle } {
  const token = new pkcs11.PKCS11();
  token.load(LIBRARY);
  token.C_Initialize();
  const [slot] = token.C_GetSlotList(true);
  assert.ok(slot);
  return { token, slot };
}

function withUser<T>(run: (token: pkcs11.PKCS11, session: pkcs11.Handle) => T): T {
  const { token, slot } = open();
  try {
    const session = token.C_OpenSession(slot, READ_WRITE);
    token.C_Login(session, pkcs11.CKU_USER, USER_PIN);
    return run(token, session);
  } finally {
    token.C_Finalize();
    token.close();
  }
}

function findByLabel(
  token: pkcs11.PKCS11,
  session: pkcs11.Handle,
  label: string,
): readonly pkcs11.Handle[] {
  token.C_FindObjectsInit(session, [{ type: pkcs11.CKA_LABEL, value: label }]);
  const found = token.C_FindObjects(session, 100);
  token.C_FindObjectsFinal(session);
  return found;
}

function makePair(token: pkcs11.PKCS11, session: pkcs11.Handle, label: string): pkcs11.KeyPair {
  const name = { type: pkcs11.CKA_LABEL, value: label };
  return token.C_GenerateKeyPair(
    session,
    GENERATE_EC,
    [ON_TOKEN, name, { type: pkcs11.CKA_EC_PARAMS, value: P256 }],
    [
      ON_TOKEN,
      name,
      { type: pkcs11.CKA_PRIVATE, value: true },
      { type: pkcs11.CKA_SENSITIVE, value: true },
      { type: pkcs11.CKA_SIGN, value: true },
    ],
  );
}

test('a blank token becomes a device: PINs, a pair, a signature that OpenSSL verifies', () => {
  const { token, slot } = open();
  token.C_InitToken(slot, SO_PIN, 'device');
  const session = token.C_OpenSession(slot, READ_WRITE);
  token.C_Login(session, pkcs11.CKU_SO, SO_PIN);
  token.C_InitPIN(session, USER_PIN);
  token.C_Finalize();
  token.close();

  withUser((user, opened) => {
    const { publicKey, privateKey } = makePair(user, opened, 'device-key');
    const [{ value: encoded }] = user.C_GetAttributeValue(opened, publicKey, [
      { type: pkcs11.CKA_EC_POINT, value: Buffer.alloc(100) },
    ]) as unknown as readonly [{ readonly value: Buffer }];
    const point = encoded.subarray(3);
    const key = {
      kty: 'EC',
      crv: 'P-256',
      x: point.toString('base64url', 0, 32),
      y: point.toString('base64url', 32),
    };
    const judge = createPublicKey({ key, format: 'jwk' });
    user.C_SignInit(opened, { mechanism: pkcs11.CKM_ECDSA }, privateKey);
    const digest = createHash('sha256').update(MESSAGE).digest();
    const signature = user.C_Sign(opened, digest, Buffer.alloc(64));

    const signer = { key: judge, dsaEncoding: 'ieee-p1363' } as const;
    assert.ok(verify('sha256', MESSAGE, signer, signature));
    assert.throws(() => user.C_GetAttributeValue(opened, privateKey, [{ type: pkcs11.CKA_VALUE }]));
  });
});

test('the pair is there after the world was killed, and the application says what happened', async () => {
  const { token, slot } = open();
  const session = token.C_OpenSession(slot, READ_WRITE);
  await world.end('SIGKILL');

  assert.throws(
    () => token.C_GetSessionInfo(session),
    (error: unknown) => error instanceof pkcs11.Pkcs11Error && CKR_DEVICE_GONE.includes(error.code),
  );
  token.C_Finalize();
  token.close();
  world = await start();
  withUser((user, opened) => {
    assert.equal(findByLabel(user, opened, 'device-key').length, 2);
  });
});

test('whenever it is killed while pairs are made, each pair that was reported is whole', async () => {
  const reported: string[] = [];
  for (let round = 0; round < 4; round += 1) {
    const kill = killWorldAfter(40 + 35 * round);
    try {
      withUser((user, session) => {
        for (let index = 0; index < 200; index += 1) {
          const label = `pair-${String(round)}-${String(index)}`;
          makePair(user, session, label);
          reported.push(label);
        }
      });
    } catch (error) {
      assert.ok(error instanceof pkcs11.Pkcs11Error);
    }
    await kill;
    world = await start();
  }

  assert.ok(existsSync(socket));
  withUser((user, session) => {
    for (const label of reported) {
      assert.equal(findByLabel(user, session, label).length, 2, label);
    }
  });
});

/** This process waits inside C calls, so somebody else has to kill the world. */
async function killWorldAfter(afterMs: number): Promise<void> {
  const pid = String(world.process.pid);
  const seconds = (afterMs / 1000).toFixed(3);
  const killer = spawn('sh', ['-c', `sleep ${seconds}; kill -9 ${pid}`]);
  await once(killer, 'exit');
  await world.end('SIGKILL');
}
