import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { inChild } from '../support/in-child.ts';
import { faultyModule, faults } from '../support/faulty-module.ts';
import { isolated, softHsm, USER_PIN, type TokenWorld } from '../support/token-world.ts';

const SCENARIOS = join(import.meta.dirname, 'token-isolation.scenarios.ts');
const RUNNER = join(import.meta.dirname, '../support/child-main.ts');

describe('a PKCS#11 library in a process of its own', () => {
  let world: TokenWorld;

  before(async () => {
    world = await isolated(softHsm).open();
    await value('prepare');
  });
  after(() => world.close());

  const value = async (name: string, more: object = {}): Promise<unknown> => {
    const args = { settings: world.settings, ...more };
    const outcome = await inChild(SCENARIOS, name, args, world.env);
    assert.equal(outcome.text, undefined, outcome.output);
    return outcome.value;
  };

  test('is not in the address space of the agent, and the way to it is for this user alone', async () => {
    const seen = (await value('lookAround')) as Record<string, unknown>;
    assert.equal(seen['mapsLibrary'], false);
    assert.equal(seen['serverMapsLibrary'], true);
    assert.equal(seen['directoryMode'], 0o700);
  });

  for (const victim of ['remote', 'server']) {
    test(`crashes (${victim}) without the agent, and is there again for the next signature`, async () => {
      const outcome = (await value('signAfterCrash', { victim })) as Record<string, number[]>;
      assert.deepEqual(outcome['signatures'], [256, 256, 256]);
      assert.equal(new Set(outcome['servers']).size, 3);
    });
  }

  test('is logged in to by libp11 with a PIN that is in a file for that long only', async () => {
    assert.deepEqual(await value('lendPin'), { mode: 0o600, text: USER_PIN, after: false });
  });

  for (const how of ['hang', 'crash'] as const) {
    test(`is tried there before the agent depends on it (${how})`, async () => {
      const settings = { ...world.settings, module: faultyModule() };
      const env = { ...world.env, ...faults(world.settings.module, 'C_Initialize', how) };
      const { code, details } = await inChild(SCENARIOS, 'probeAndLoad', { settings }, env);
      assert.equal(code, 'TOKEN_MODULE');
      assert.equal(details['module'], faultyModule());
      const cause =
        how === 'hang' ? /C_Initialize: no answer within 2 s$/u : /^C_Initialize: CKR_/u;
      assert.match(String(details['cause']), cause);
    });
  }

  test('that is not there at all is named', async () => {
    const settings = { ...world.settings, module: '/nonexistent.so' };
    const { code, details } = await inChild(SCENARIOS, 'prepare', { settings }, world.env);
    assert.equal(code, 'TOKEN_MODULE');
    assert.equal(details['cause'], 'no such file');
  });

  test('says what to install where p11-kit is not', async () => {
    const env = { ...world.env, PATH: '/nonexistent' };
    const { code, details, text } = await inChild(
      SCENARIOS,
      'lookAround',
      { settings: world.settings },
      env,
    );
    assert.equal(code, 'TOKEN_MODULE', text);
    assert.match(String(details['remedy']), /^apt-get install p11-kit p11-kit-modules/u);
  });

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    test(`ends with the agent, whatever ends it (${signal}), and leaves nothing behind`, async () => {
      const args = JSON.stringify({ settings: world.settings });
      const agent = spawn(process.execPath, [RUNNER, SCENARIOS, 'stay', args], {
        stdio: ['ignore', 'pipe', 'ignore'],
        env: { ...process.env, ...world.env },
      });
      const [line] = (await once(agent.stdout, 'data')) as [Buffer];
      const { group, directory } = JSON.parse(line.toString()) as {
        group: number;
        directory: string;
      };
      assert.ok(members(group).length >= 2);
      const exited = once(agent, 'exit');
      agent.kill(signal);
      await exited;
      await until(() => members(group).length === 0 && !existsSync(directory));
      assert.ok(existsSync(dirname(directory)));
    });
  }
});

/** Processes of a group that are not only waiting to be reaped. */
function members(group: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/u.test(name))
    .filter((pid) => {
      const fields = statFields(pid);
      return fields[2] === String(group) && fields[0] !== 'Z';
    })
    .map(Number);
}

/** From the state on (proc(5)): state, parent, group. */
function statFields(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /su, '')
      .split(' ');
  } catch {
    return [];
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 20) {
    if (holds()) return;
    await setTimeout(20);
  }
  assert.fail('it did not come to that');
}
