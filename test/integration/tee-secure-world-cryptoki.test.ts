/** The whole stack: an application, the C library, the socket, the TA, OP-TEE's storage format. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { temporaryDirectory } from '../support/temporary.ts';
import { buildDrivers } from './support-tee-drivers.ts';
import { SecureWorld } from './tee-secure-world-process.ts';
import {
  CKA,
  CKM,
  firstSlot,
  loadToken,
  openUserSession,
  P256,
  prepareToken,
  type Handle,
  type Token,
} from './tee-secure-world-token.ts';

const MESSAGE = Buffer.from('message');
const ROUNDS = 4;

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

function withToken<T>(run: (token: Token) => T): T {
  const token = loadToken();
  try {
    return run(token);
  } finally {
    token.C_Finalize();
  }
}

function withUser<T>(run: (token: Token, session: Handle) => T): T {
  return withToken((token) => run(token, openUserSession(token, firstSlot(token))));
}

function findByLabel(token: Token, session: Handle, label: string): readonly Handle[] {
  token.C_FindObjectsInit(session, [{ type: CKA.LABEL, value: label }]);
  const found = token.C_FindObjects(session, 100);
  token.C_FindObjectsFinal(session);
  return found;
}

function makePair(
  token: Token,
  session: Handle,
  label: string,
): { readonly publicKey: Handle; readonly privateKey: Handle } {
  const common = [
    { type: CKA.TOKEN, value: true },
    { type: CKA.LABEL, value: label },
  ];
  return token.C_GenerateKeyPair(
    session,
    { mechanism: CKM.EC_KEY_PAIR_GEN },
    [...common, { type: CKA.EC_PARAMS, value: P256 }],
    [
      ...common,
      { type: CKA.PRIVATE, value: true },
      { type: CKA.SENSITIVE, value: true },
      { type: CKA.SIGN, value: true },
    ],
  );
}

test('a blank token becomes a device: PINs, a pair, a signature that OpenSSL verifies', () => {
  withToken((token) => {
    prepareToken(token, firstSlot(token));
  });

  withUser((token, session) => {
    const { publicKey, privateKey } = makePair(token, session, 'device-key');
    const asked = [{ type: CKA.EC_POINT, value: Buffer.alloc(100) }];
    const [answered] = token.C_GetAttributeValue(session, publicKey, asked);
    assert.ok(Buffer.isBuffer(answered?.value));
    const point = answered.value.subarray(3);
    const x = point.toString('base64url', 0, 32);
    const y = point.toString('base64url', 32);
    const judge = createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
    token.C_SignInit(session, { mechanism: CKM.ECDSA }, privateKey);
    const digest = createHash('sha256').update(MESSAGE).digest();
    const signature = token.C_Sign(session, digest, Buffer.alloc(64));

    assert.ok(verify('sha256', MESSAGE, { key: judge, dsaEncoding: 'ieee-p1363' }, signature));
    assert.throws(
      () => token.C_GetAttributeValue(session, privateKey, [{ type: CKA.VALUE }]),
      /CKR_ATTRIBUTE_SENSITIVE/u,
    );
  });
});

test('the pair is there after the world was killed; who was connected learns of it', async () => {
  const token = loadToken();
  const session = token.C_OpenSession(firstSlot(token), 0x4);
  await world.end('SIGKILL');

  assert.throws(() => token.C_GetSessionInfo(session), /CKR_GENERAL_ERROR|CKR_DEVICE/u);
  token.C_Finalize();
  world = await start();
  withUser((user, opened) => {
    assert.equal(findByLabel(user, opened, 'device-key').length, 2);
  });
});

test('whenever it is killed while pairs are made, each pair that was reported is whole', async () => {
  const reported: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    let killed: Promise<void> | undefined;
    assert.throws(() => {
      withUser((token, session) => {
        for (let index = 0; ; index += 1) {
          const label = `pair-${String(round)}-${String(index)}`;
          makePair(token, session, label);
          reported.push(label);
          // Not before: a busy machine may take longer than the delay to get here.
          killed ??= killWorldAfter(1 + 15 * round);
        }
      });
    }, /CKR_/u);
    await killed;
    world = await start();
  }

  assert.ok(reported.length >= ROUNDS);
  withUser((token, session) => {
    for (const label of reported) {
      assert.equal(findByLabel(token, session, label).length, 2, label);
    }
  });
});

/** This process waits inside C calls, so somebody else has to kill the world. */
async function killWorldAfter(delayMs: number): Promise<void> {
  const pid = String(world.process.pid);
  const killer = spawn('sh', ['-c', `sleep ${(delayMs / 1000).toFixed(3)}; kill -9 ${pid}`]);
  await once(killer, 'exit');
  await world.end('SIGKILL');
}
