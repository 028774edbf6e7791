/**
 * The C programs under valgrind: no error, no block that is definitely lost.
 *
 * AddressSanitizer does not see memory that was never written; valgrind does.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { startTee, type Tee } from '../support/tee.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { fillAnswer, readCornerCalls } from './support-tee-corners.ts';
import { BUILD, buildDrivers, runDriver, type Driver } from './support-tee-drivers.ts';
import {
  FakeWorld,
  INVOKE,
  answerOperation,
  plainReply,
  readParams,
  u32,
  type Frame,
  type Reply,
} from './support-tee-fake-world.ts';
import { ANY_RETURN, taReply } from './support-tee-ta-calls.ts';

const VALGRIND = [
  'valgrind',
  '--quiet',
  '--error-exitcode=99',
  '--leak-check=full',
  '--show-leak-kinds=definite',
  '--errors-for-leak-kinds=definite',
];
const TIMEOUT_MS = 60_000;

/** Runs `script` against a world that answers with `reply`. */
async function check(
  driver: Driver,
  script: readonly string[],
  reply: (asked: Frame) => Reply,
): Promise<readonly string[]> {
  const world = new FakeWorld();
  await world.listen();
  try {
    world.reply = reply;
    const { lines, stderr, exitCode } = await runDriver(driver, 'debug', script, {
      env: { OTA_TEE_SOCKET: world.socketPath, ...ANY_RETURN },
      under: VALGRIND,
      timeoutMs: TIMEOUT_MS,
    });
    assert.deepEqual([stderr, exitCode], ['', 0]);
    return lines;
  } finally {
    await world.close();
  }
}

/** Leaves ones in whatever a TA may write to. */
function fillMemory(asked: Frame): Reply {
  if (asked.opcode !== INVOKE) return plainReply(asked);
  const left = readParams(asked).map(({ type, room }) => ({
    bytes: Buffer.alloc(type < 5 ? 8 : room, 1),
  }));
  return Buffer.concat([u32(0, 4), answerOperation(asked, left)]);
}

describe('under valgrind', () => {
  before(() => {
    buildDrivers('debug');
  });

  test('an error and a leak are seen: this test can fail', async () => {
    const script = ['wrong uninitialised', 'wrong leak'];
    const { stderr, exitCode } = await runDriver('teec-driver', 'debug', script, {
      under: VALGRIND,
      timeoutMs: TIMEOUT_MS,
    });
    assert.match(stderr, /uninitialised[\s\S]*definitely lost/);
    assert.equal(exitCode, 99);
  });

  for (const driver of ['teec-driver', 'teec-driver-abi1'] as const) {
    test(`${driver} is clean: every kind of parameter, refusals, threads, a child`, async () => {
      const lines = await check(
        driver,
        [
          'initialize 0',
          'open 0 0 0 null',
          'open 1 0 4 null',
          'invoke 0 1 value-in:1:2 value-out:0:0 value-inout:3:4 none',
          'invoke 0 1 temp-in:x0102 temp-out:x0000 temp-inout:x03 temp-in:null',
          'invoke 0 1 whole:1:x0102 whole:2:allocate:9 whole:3:allocate:0 part-out:1:2:3:x05060708',
          'invoke 0 1 whole:0:x01 whole:1:null',
          'invoke 0 1 part-in:3:2:1:x01020304',
          'invoke_bare 0 1',
          'protections 0 1',
          'cancel_before 0',
          'misaligned',
          'threads 4',
          'fork 0',
          'close 0',
          'finalize 0',
          'initialize 0 another',
        ],
        fillMemory,
      );
      assert.equal(lines.length, 17);
    });
  }

  test('a target that dies, or lies, leaves nothing behind', async () => {
    const replies: readonly Reply[] = [
      'close',
      { raw: u32(4, 3, 0x8004, 0xffff_ffff), then: 'end' },
      { raw: u32(0xffff_ffff, 3, 0x8004), then: 'end' },
    ];
    const call = ['initialize 0', 'open 0 0 0 null', 'invoke 0 1 temp-inout:x0102', 'finalize 0'];
    const lines = await check('teec-driver', [...call, ...call, ...call], (asked) =>
      asked.opcode === INVOKE ? (replies[asked.connection] ?? 'close') : plainReply(asked),
    );
    assert.deepEqual(
      [2, 6, 10].map((at) => lines[at]?.slice(0, 19)),
      replies.map(() => '0xffff3024 origin=2'),
    );
  });

  test('Cryptoki is clean in the corners of PKCS#11, all 250 of them', async () => {
    const calls = readCornerCalls().map(({ call }) => call);
    const script = [
      'entry_points',
      'get_interface_list 9',
      'initialize',
      ...calls,
      'login_user 1 1 x3132 null',
      'session_cancel 1 0xffffffff',
      'messages',
      'unsupported',
      'fork',
      'finalize',
    ];
    const lines = await check('cryptoki-driver', script, taReply(fillAnswer));
    assert.equal(lines.length, script.length);
  });
});

describe('festore under valgrind', () => {
  const directory = temporaryDirectory('festore-valgrind');
  let tee: Tee;
  before(async () => {
    buildDrivers('debug');
    tee = await startTee(directory.path);
  });
  after(async () => {
    await tee.stop();
    directory.remove();
  });

  test('is clean: put, get, list, delete, and what is refused', async () => {
    const runs: readonly (readonly [readonly string[], number])[] = [
      [['put', 'tag'], 0],
      [['get', 'tag'], 0],
      [['list'], 0],
      [['delete', 'tag'], 0],
      [['get', 'tag'], 3],
    ];
    for (const [args, status] of runs) {
      const [program = '', ...options] = [...VALGRIND, join(BUILD, 'debug/festore'), ...args];
      const child = spawn(program, options, {
        env: { ...process.env, ...tee.env },
        timeout: TIMEOUT_MS,
      });
      let stderr = '';
      child.stderr.on('data', (chunk: Buffer) => {
        stderr += chunk.toString();
      });
      child.stdout.resume();
      child.stdin.end('value');
      child.stdin.on('error', () => undefined);
      await once(child, 'close');
      assert.equal(child.exitCode, status, stderr);
      assert.doesNotMatch(stderr, /^==/m);
    }
  });
});
