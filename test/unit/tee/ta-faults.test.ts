/** A TA under a fault plan is the same TA to the world that runs it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TaFaultPlan } from '../../tee/secure-world/control/ta-faults.ts';
import { TA_FLAG, type TaInstance } from '../../tee/secure-world/ta.ts';
import type { Operation } from '../../tee/secure-world/world/operation.ts';
import { World } from '../../tee/secure-world/world/world.ts';
import { PromptClient } from './prompt-client.ts';

const UUID = '00000000-0000-4000-8000-000000000001';
const TEE_SUCCESS = 0;
const NONE = { kind: 'none' } as const;
const NOTHING: Operation = { types: 0, parameters: [NONE, NONE, NONE, NONE] };
const TEE_ERROR_TARGET_DEAD = 0xffff3024;

test('what a TA had open is taken back when a fault makes it panic', () => {
  const calls: string[] = [];
  const plan = new TaFaultPlan();
  const app = { uuid: UUID, flags: TA_FLAG.SINGLE_INSTANCE, create: () => instance(calls) };
  const world = new World([plan.wrap(app)], () => calls.push('panic'));
  const client = new PromptClient(world, { pid: 1, uid: 0, gid: 0, groups: [] });
  const { session } = client.open(UUID, 0, 0, NOTHING);
  plan.panicAt(UUID, 1, 0xdead);

  const { result } = client.invoke(session, 1, NOTHING);

  assert.equal(result, TEE_ERROR_TARGET_DEAD);
  assert.deepEqual(calls, ['reclaim', 'panic']);
});

function instance(calls: string[]): TaInstance {
  return {
    open: () => TEE_SUCCESS,
    invoke: () => TEE_SUCCESS,
    close: () => calls.push('close'),
    destroy: () => calls.push('destroy'),
    reclaim: () => calls.push('reclaim'),
  };
}
