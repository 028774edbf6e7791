/** The private keys are nowhere but in the secure world: not on the wire, not in the agent's memory. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { collect } from '../support/device.ts';
import { searchMemory } from '../support/memory.ts';
import { startTee, type Tee } from '../support/tee.ts';
import { disguises, privateKeyValues } from '../support/token-secrets.ts';
import { tapSocket, type WireTap } from '../support/wire-tap.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

describe('the secrecy of the keys', () => {
  let world: World;
  let tee: Tee;
  let tap: WireTap;
  let secrets: readonly Buffer[];
  let needles: readonly Buffer[];

  before(async () => {
    world = await openWorld('blank');
    tap = await tapSocket(join(world.directory, 'tap.sock'), world.tee.socket);
    const env = { OTA_TEE_SOCKET: tap.socket };
    for (const args of [['provision'], ['once']]) {
      const result = await world.device.agent(args, env);
      assert.equal(result.exit, 0, said(result));
    }
    await world.tee.stop();
    secrets = privateKeyValues(world.tee.storage);
    needles = secrets.flatMap(disguises);
    tee = await startTee(world.directory);
  });
  after(async () => {
    tap.close();
    await tee.stop();
    await world.close();
  });

  test('both keys were made in the token and their secrets are known to this test', () => {
    assert.ok(
      secrets.some(({ length }) => length > 28 && length <= 32),
      'no EC P-256 value',
    );
    // A private exponent may be a few bytes shorter than its modulus.
    assert.ok(
      secrets.some(({ length }) => length > 240 && length <= 256),
      'no RSA-2048 private exponent',
    );
  });

  test('nothing secret passed the wire while keys were made and used', () => {
    const recorded = tap.recorded();
    assert.ok(recorded.length > 10_000);
    assert.ok(recorded.includes('ota-agent-uptane'), 'the tap recorded the wrong thing');
    for (const needle of needles) assert.ok(!recorded.includes(needle));
  });

  test('nothing secret is in the memory of an agent that signed and did TLS with them', async () => {
    const child = world.device.start(['run']);
    const { pid } = child;
    assert.ok(pid !== undefined);
    try {
      await pollDone(world);
      const children = readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8');
      const processes = [pid, ...children.trim().split(' ').map(Number)];
      for (const one of processes) assert.deepEqual(searchMemory(one, needles), []);
      // The search itself works: what must be there is found, in who works and in the secure world.
      const label = Buffer.from('ota-agent-uptane');
      assert.equal(processes.filter((one) => searchMemory(one, [label]).length > 0).length, 1);
      assert.ok(searchMemory(tee.pid, needles).length > 0);
    } finally {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    }
  });

  test('the agent never opens the storage of the secure world (strace of every file call)', async () => {
    const trace = join(world.directory, 'files.strace');
    const { configPath } = world.device;
    const agent = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');
    const strace = ['-f', '-qq', '-s', '4096', '-e', 'trace=%file', '-o', trace];
    const child = spawn(
      'strace',
      [...strace, process.execPath, agent, 'once', '--json', '--config', configPath],
      { env: { ...process.env, ...tee.env }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const result = await collect(child);
    assert.equal(result.exit, 0, said(result));
    const lines = readFileSync(trace, 'utf8').split('\n');
    assert.ok(
      lines.some((line) => line.includes('ota-agent.db')),
      'strace saw nothing',
    );
    assert.deepEqual(
      lines.filter((line) => line.includes(`"${tee.storage}`)),
      [],
    );
  });
});

/** Until the daemon has polled once: by then it has signed a manifest and made a TLS handshake. */
async function pollDone(world: World): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const status = await world.device.agent(['status']);
    if (typeof status.json['nextPollAt'] === 'string') return;
  }
  assert.fail('the daemon never finished a poll');
}
