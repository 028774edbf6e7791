/** Other people's programs, and every way in which they end. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { runTool, ToolFailure, type ToolOptions } from '../../agent/io/run-tool.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const MINUTE = { timeoutMs: 60_000 };

const shell = (script: string, options: ToolOptions = MINUTE): ReturnType<typeof runTool> =>
  runTool('/bin/sh', ['-c', script], options);

function fails(reason: ToolFailure['reason'], message: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof ToolFailure && error.reason === reason && message.test(error.message);
}

/** SIGKILL is on its way to it: it is given its turn to end. */
async function hasEnded(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 500 && isAlive(pid); tries += 1) await sleep(10);
  return !isAlive(pid);
}

/** Not gone, nor waiting for its parent to take note. */
function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /u.test(readFileSync(`/proc/${String(pid)}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test('its exit code, what it said, and its lines, whole', async () => {
  const lines: string[] = [];
  const options = { ...MINUTE, onLine: (line: string) => lines.push(line) };
  const result = await shell(
    'printf "a\\nb"; sleep 0.05; printf "c\\n"; echo no >&2; exit 7',
    options,
  );
  assert.deepEqual(result, { code: 7, stdout: 'a\nbc\n', stderr: 'no\n' });
  assert.deepEqual(lines, ['a', 'bc']);
});

test('input goes to it, and what it does not read is its own affair', async () => {
  assert.equal((await shell('cat', { ...MINUTE, input: 'text' })).stdout, 'text');
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield await Promise.resolve(Buffer.alloc(65_536));
  }
  assert.equal((await shell('head -c 1 >/dev/null', { ...MINUTE, input: endless() })).code, 0);
});

test('input that fails on the way is a failure, though the program took it for the end', async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.from('half'));
    throw new Error('the way is bad');
  }
  await assert.rejects(shell('cat', { ...MINUTE, input: broken() }), /the way is bad/u);
});

test('a program that is not there says which', async () => {
  const missing = runTool('/nonexistent/rauc', [], MINUTE);
  await assert.rejects(missing, fails('missing', /^\/nonexistent\/rauc cannot be run: .*ENOENT/u));
});

test('a program that hangs is killed, with all that it started', async (t) => {
  const directory = temporaryDirectory('run-tool');
  t.after(() => {
    directory.remove();
  });
  const pidFile = `${directory.path}/pid`;
  const hanging = shell(`sleep 600 & echo $! >${pidFile}; wait`, { timeoutMs: 500 });
  await assert.rejects(hanging, fails('timeout', /^\/bin\/sh did not end within 0.5 s$/u));
  const pid = Number(readFileSync(pidFile, 'utf8'));
  assert.ok(await hasEnded(pid));
});

test('a program that crashes says by which signal, and what it said last', async () => {
  await assert.rejects(
    shell('echo "at step 3" >&2; kill -SEGV $$'),
    fails('signal', /was ended by SIGSEGV: at step 3$/u),
  );
});

test('of a program that says more than anyone reads, the end is kept', async () => {
  const { stdout } = await shell('yes | head -c 1000000; echo end');
  assert.equal(stdout.length, 64 * 1024);
  assert.match(stdout, /end\n$/u);
});

test('a program that leaves others running is waited for alone, and they end with it', async (t) => {
  const directory = temporaryDirectory('run-tool');
  t.after(() => {
    directory.remove();
  });
  const pids = `${directory.path}/pids`;
  // One in its group, and one that has left it: that one is its own affair, but is not waited for.
  const leaving = `sleep 600 & echo $! >${pids}; setsid sleep 3 & echo begun`;
  const begun = performance.now();
  assert.equal((await shell(leaving)).stdout, 'begun\n');
  assert.ok(performance.now() - begun < 2500);
  assert.ok(await hasEnded(Number(readFileSync(pids, 'utf8'))));
});

test('a program that says more than it may is killed', async () => {
  const endless = shell('yes', { ...MINUTE, maxCharacters: 100_000 });
  await assert.rejects(endless, fails('output', /^\/bin\/sh said more than 100000 characters$/u));
});

const RUN_TOOL = join(import.meta.dirname, '../../agent/io/run-tool.ts');

for (const signal of ['SIGINT', 'SIGHUP', 'SIGKILL'] as const) {
  test(`a program that heeds no signal ends with who runs it, when ${signal} ends that`, async (t) => {
    const directory = temporaryDirectory('run-tool');
    t.after(() => {
      directory.remove();
    });
    const pids = join(directory.path, 'pids');
    const script = `trap '' INT TERM HUP; sleep 600 & echo $! $$ >${pids}.new; mv ${pids}.new ${pids}; while :; do wait; done`;
    const run = `import { runTool } from ${JSON.stringify(RUN_TOOL)};
await runTool('/bin/true', [], { timeoutMs: 60_000 });
await runTool('/bin/sh', ['-c', ${JSON.stringify(script)}], { timeoutMs: 60_000 });`;
    const args = ['--input-type=module', '-e', run];
    const runner = spawn(process.execPath, args, { stdio: 'inherit', detached: true });
    const ended = once(runner, 'exit');
    while (!existsSync(pids)) {
      assert.equal(runner.exitCode, null);
      await sleep(10);
    }
    // As a terminal sends it: to the group.
    process.kill(-(runner.pid ?? 0), signal);
    assert.deepEqual(await ended, [null, signal]);
    for (const pid of readFileSync(pids, 'utf8').trim().split(' ')) {
      assert.ok(await hasEnded(Number(pid)), pid);
    }
  });
}
