/** The secure world's options for its storage: where an RPMB is, what it is for, what stands in the way. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, before, beforeEach, test } from 'node:test';

import { temporaryDirectory } from '../support/temporary.ts';
import { runToEnd, SecureWorld } from './tee-secure-world-process.ts';
import { firstSlot, loadToken, prepareToken } from './tee-secure-world-token.ts';
import { buildDrivers } from './support-tee-drivers.ts';

const FAILED = 1;
const USAGE = 2;

let directory = temporaryDirectory('world');

before(() => {
  buildDrivers('plain');
});
beforeEach(() => {
  directory = temporaryDirectory('world');
});
afterEach(() => {
  directory.remove();
});

function at(name: string): string {
  return join(directory.path, name);
}

function args(...more: readonly string[]): readonly string[] {
  return ['--storage', at('s'), '--socket', at('socket'), ...more];
}

/** Each start writes: it burns a counter of the RPMB, and the first one makes what is missing. */
async function startAndEnd(...more: readonly string[]): Promise<void> {
  const world = await SecureWorld.start(...args(...more));
  assert.deepEqual(await world.end(), { code: 0, signal: null, stderr: '' });
}

async function refused(code: number, says: RegExp, ...more: readonly string[]): Promise<void> {
  const ended = await runToEnd(...args(...more));
  assert.equal(ended.code, code, ended.stderr);
  assert.match(ended.stderr, says);
  assert.equal(existsSync(at('socket')), false);
}

test('keeps an RPMB in DIR/rpmb, or where --rpmb-dir says; with --private rpmb there is no REE-FS', async () => {
  await startAndEnd('--rpmb');
  assert.deepEqual(readdirSync(at('s')).sort(), ['dirf.db', 'huk', 'lock', 'rpmb']);
  assert.deepEqual(readdirSync(at('s/rpmb')).sort(), ['lock', 'rpmb']);
  rmSync(at('s'), { recursive: true });
  await startAndEnd('--rpmb', '--rpmb-dir', at('chip'), '--private', 'rpmb');
  assert.deepEqual(readdirSync(at('s')), ['huk']);
  assert.deepEqual(readdirSync(at('chip')).sort(), ['lock', 'rpmb']);
});

test('refuses options that contradict each other: what, what to do, exit 2', async () => {
  await refused(USAGE, /--rpmb-dir says where .* with --rpmb only/u, '--rpmb-dir', at('chip'));
  await refused(USAGE, /--private rpmb keeps .* with --rpmb only/u, '--private', 'rpmb');
  await refused(USAGE, /--private is "usb": it can be ree or rpmb/u, '--rpmb', '--private', 'usb');
  await refused(USAGE, /--rpmb-dir is empty/u, '--rpmb', '--rpmb-dir', '');
  assert.equal(existsSync(at('s')), false);
});

for (const older of ['s', 'chip'] as const) {
  test(`refuses an older ${older === 's' ? 'REE-FS' : 'RPMB'} beside the newest of the other, and says what to do`, async () => {
    const rpmb = ['--rpmb', '--rpmb-dir', at('chip')];
    await startAndEnd(...rpmb);
    cpSync(at(older), at('old'), { recursive: true });
    const world = await SecureWorld.start(...args(...rpmb));
    changeToken(at('socket'));
    await world.end();
    cpSync(at(older), at('new'), { recursive: true });

    replace(at(older), at('old'));
    await refused(
      FAILED,
      /cannot open the storage in .*dirf.db: is not the anchored version.*put back the newest of both/u,
      ...rpmb,
    );
    if (older === 's') {
      rmSync(at('s/dirf.db'));
      await refused(FAILED, /dirf.db: is anchored but missing.*newest of both/u, ...rpmb);
    }
    replace(at(older), at('new'));
    await startAndEnd(...rpmb);
  });
}

test('does not notice an older REE-FS without an RPMB, as OP-TEE does not either', async () => {
  await startAndEnd();
  cpSync(at('s'), at('old'), { recursive: true });
  const world = await SecureWorld.start(...args());
  changeToken(at('socket'));
  await world.end();

  replace(at('s'), at('old'));

  await startAndEnd();
});

test('refuses an RPMB of another key, a damaged one, and one that is in use', async () => {
  await startAndEnd('--rpmb');
  writeFileSync(at('huk'), Buffer.alloc(16, 7));
  const place = 's/rpmb: the RPMB is out of use.*MAC is wrong.*--huk.*--rpmb-dir';
  await refused(FAILED, new RegExp(place, 'u'), '--rpmb', '--huk', at('huk'));

  const world = await SecureWorld.start(...args('--rpmb'));
  const second = [
    '--storage',
    at('other'),
    '--socket',
    at('2'),
    '--rpmb',
    '--rpmb-dir',
    at('s/rpmb'),
  ];
  const ended = await runToEnd(...second);
  await world.end();
  assert.equal(ended.code, FAILED);
  assert.match(ended.stderr, /cannot open the RPMB in .*s\/rpmb: .*is in use.*--rpmb-dir/u);

  writeFileSync(at('s/rpmb/rpmb'), 'not a chip');
  await refused(FAILED, /s\/rpmb: rpmb: is not an emulated RPMB/u, '--rpmb');
});

function replace(current: string, other: string): void {
  rmSync(current, { recursive: true });
  cpSync(other, current, { recursive: true });
}

/** Several commits: of one more than it knows, a store could be the one before a power cut. */
function changeToken(socket: string): void {
  process.env['OTA_TEE_SOCKET'] = socket;
  const token = loadToken();
  try {
    prepareToken(token, firstSlot(token));
  } finally {
    token.C_Finalize();
  }
}
