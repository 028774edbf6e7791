/** PKCS#11 libraries that crash, hang or give up, as the process that tries them sees it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { isOtaError } from '../../agent/errors.ts';
import { probeModule } from '../../agent/io/token/probe-module.ts';
import { faultyModule, faults, type FaultyCall } from '../support/faulty-module.ts';

const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so';
const HERE = { login: 'pin', isolation: 'none' } as const;

/** What the probe says; one library at a time, because the environment says how it fails. */
async function said(
  call: FaultyCall,
  how: 'crash' | 'hang' | 'exit' | `0x${string}`,
  answerMs = 60_000,
): Promise<{ cause: string; remedy: string } | 'answered'> {
  const env = faults(SOFTHSM, call, how);
  Object.assign(process.env, env);
  try {
    await probeModule({ ...HERE, module: faultyModule() }, answerMs);
    return 'answered';
  } catch (error) {
    assert.ok(isOtaError(error) && error.code === 'TOKEN_MODULE', String(error));
    assert.equal(error.details.module, faultyModule());
    return error.details;
  } finally {
    for (const name of Object.keys(env)) Reflect.deleteProperty(process.env, name);
  }
}

describe('a PKCS#11 library, before it is let into the agent', () => {
  before(() => {
    process.env['SOFTHSM2_CONF'] = '/dev/null';
  });

  for (const call of ['load', 'C_Initialize', 'C_GetSlotList'] as const) {
    const name = call === 'load' ? 'loading' : call;

    test(`that crashes at ${name} is named with the call and the signal`, async () => {
      const details = await said(call, 'crash');
      assert.ok(details !== 'answered');
      assert.equal(details.cause, `${name}: the library crashed (SIGSEGV)`);
      assert.match(details.remedy, /^install another version of the library or set token\.module/u);
    });

    test(`that hangs at ${name} is named with the call and the time, and ended`, async () => {
      const details = await said(call, 'hang', 2000);
      assert.ok(details !== 'answered');
      assert.match(details.cause, /: no answer within 2 s$/u);
      assert.match(details.remedy, /tee-supplicant, tpm2-abrmd, pcscd/u);
      await setTimeout(100);
      assert.deepEqual(children(), []);
    });
  }

  test('that ends the process is named with its exit status', async () => {
    const details = await said('C_Initialize', 'exit');
    assert.ok(details !== 'answered');
    assert.equal(details.cause, 'C_Initialize: the library ended the process (exit status 7)');
  });

  test('that answers, be it with a failure, is left to the agent', async () => {
    assert.equal(await said('C_Initialize', '0x30'), 'answered');
    assert.equal(await said('C_Sign', 'crash'), 'answered');
    await probeModule({ ...HERE, module: SOFTHSM });
    await probeModule({ ...HERE, module: '/nonexistent.so' });
  });

  test('is not told PINs that are in the environment', async () => {
    process.env['OTA_AGENT_PIN'] = 'pin-of-the-probe';
    try {
      Object.assign(process.env, faults(SOFTHSM, 'C_Initialize', 'hang'));
      const probe = probeModule({ ...HERE, module: faultyModule() }, 3000).catch(() => 'hung');
      await setTimeout(1000);
      const environments = children().map((pid) => readFileSync(`/proc/${pid}/environ`, 'utf8'));
      assert.equal(environments.length, 1);
      const [environment = ''] = environments;
      assert.ok(environment.includes('FAULTY_HOW=hang'));
      assert.ok(!environment.includes('pin-of-the-probe'));
      assert.equal(await probe, 'hung');
    } finally {
      Reflect.deleteProperty(process.env, 'OTA_AGENT_PIN');
    }
  });
});

/** Processes that this one has started and that still run; none of them is the shell that waits for its end. */
function children(): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/u.test(pid)) return false;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (parent !== String(process.pid) || state === 'Z') return false;
      return !readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('ota-agent-last-will');
    } catch {
      return false;
    }
  });
}
