/** Secrets for one device: what is taken, and what is refused as a whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { receiveSecrets, type Received } from '../../../agent/io/secrets/receive.ts';
import { encrypt } from '../../director/gateway/encrypt.ts';
import { rejectsCode } from '../../support/expect-code.ts';
import { softwareKey } from '../../support/secrets-key.ts';

const { key: KEY, registered: REGISTERED } = softwareKey();
const REMEDY = 'encrypt it again, to the key that the device registered';

interface Answer {
  readonly status: number;
  readonly body: object;
}

/** Answers GETs one after the other, the last for ever; PUTs with 204. */
function receive(
  answers: readonly Answer[],
  lastVersion = 0,
): Promise<Received> & { asked: string[] } {
  const asked: string[] = [];
  const left = [...answers];
  const received = receiveSecrets({
    deviceId: 'device-1',
    key: KEY,
    lastVersion,
    ask: (method, path) => {
      asked.push(`${method} ${path}`);
      if (method === 'PUT') return Promise.resolve({ status: 204, body: Buffer.alloc(0) });
      const { status, body } = (left.length > 1 ? left.shift() : left[0]) ?? {
        status: 500,
        body: {},
      };
      return Promise.resolve({ status, body: Buffer.from(JSON.stringify(body)) });
    },
  });
  return Object.assign(received, { asked });
}

const sealed = (name: string, claims: object = {}): string =>
  encrypt(Buffer.from(`value of ${name}`), REGISTERED, {
    sub: 'device-1',
    name,
    version: 3,
    ...claims,
  });
const answer = (secrets: object, more: object = {}): Answer => ({
  status: 200,
  body: { key: REGISTERED.kid, version: 3, secrets, ...more },
});
const refused = (received: Promise<unknown>, secret: string, problem: string, remedy = REMEDY) =>
  rejectsCode(received, 'SECRET_REFUSED', { secret, problem, remedy });

test('what was encrypted to this device is opened, by name', async () => {
  const { version, secrets } = await receive([answer({ db: sealed('db'), api: sealed('api') })]);
  assert.equal(version, 3);
  assert.deepEqual(
    [...secrets].map(([name, content]) => [name, content.toString()]),
    [
      ['db', 'value of db'],
      ['api', 'value of api'],
    ],
  );
});

test('a gateway that does not know the key is told it, once, and asked again', async () => {
  const first = answer({}, { key: '' });
  const received = receive([first, answer({ db: sealed('db') })]);
  assert.equal((await received).secrets.size, 1);
  assert.deepEqual(received.asked, ['GET /secrets', 'PUT /secrets/key', 'GET /secrets']);
  const stubborn = receive([first]);
  const problem = 'the gateway goes on encrypting to another key';
  await refused(stubborn, '', problem, 'see the log of the gateway');
  assert.deepEqual(stubborn.asked, ['GET /secrets', 'PUT /secrets/key', 'GET /secrets']);
});

test('a gateway that keeps none has none', async () => {
  const { version, secrets } = await receive([{ status: 404, body: {} }]);
  assert.deepEqual([version, secrets.size], [0, 0]);
});

test('a secret of another device, under another name or of another version is refused', async () => {
  const offers = [
    [{ db: sealed('db', { sub: 'device-2' }) }, 'its sub is device-2, want device-1'],
    [{ db: sealed('api') }, 'its name is api, want db'],
    [{ db: sealed('db', { version: 2 }) }, 'its version is 2, want 3'],
    [
      { db: sealed('db', { version: undefined }) },
      'header.version must be an integer of at least 0',
    ],
  ] as const;
  for (const [secrets, problem] of offers) await refused(receive([answer(secrets)]), 'db', problem);
});

test('a version older than one that was here is refused', async () => {
  const problem = 'version 3 is older than 4, which was here';
  const remedy = 'somebody brings old secrets back: find out who';
  await refused(receive([answer({ db: sealed('db') })], 4), '', problem, remedy);
});

test('a name that is a path, a hidden file or too long is refused before it is opened', async () => {
  const problem = 'its name cannot be that of a file here';
  const remedy = 'name it with 1 to 64 of A-Z a-z 0-9 . _ -, and no dot first';
  for (const name of ['../db', '/db', '.db', 'a/b', 'a\nb', 'a'.repeat(65), '']) {
    await refused(receive([answer({ [name]: sealed(name) })]), name, problem, remedy);
  }
});

test('an answer of another shape is refused, and another status named', async () => {
  const remedy = 'mend what answers for secrets.url';
  const want = '/secrets.version must be an integer of at least 0';
  await refused(receive([answer({}, { version: 'x' })]), '', want, remedy);
  const url = 'GET /secrets';
  const details = { url, status: 500, answer: '{}' };
  await rejectsCode(receive([{ status: 500, body: {} }]), 'GATEWAY_ANSWER', details);
});

test('more secrets than a device can want are refused before one is opened', async () => {
  const many = Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`s${String(at)}`, '']));
  await refused(receive([answer(many)]), '', '257 secrets', 'send at most 256');
});
