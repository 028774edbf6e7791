/** kill -9 of the agent at each durable step of an update by SWUpdate: old or new, never in between. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { makeSwu, makeSwuKey } from '../support/swu.ts';
import { SwupdateBoard } from '../support/swupdate-board.ts';
import type { Drive } from '../support/swupdate-driver.ts';
import { devicesOf, installerOn } from '../support/swupdate-installer.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { canTrace } from '../support/tracing.ts';

const FACTORY = Buffer.from('factory image');
const IMAGE = Buffer.alloc(3 * 1024 * 1024, 'new image ');
const DRIVER = join(import.meta.dirname, '../support/swupdate-driver.ts');
const NODE_COMPILE_CACHE = join(import.meta.dirname, '../.cache/compile');
/** More than an update has. */
const MOST = 40;

describe('an agent killed while it updates with swupdate', () => {
  const directory = temporaryDirectory('swupdate-cut');
  const staged = join(directory.path, 'staged.swu');
  let board: SwupdateBoard;
  let target: ReturnType<typeof targetFor>;
  before(async () => {
    const key = makeSwuKey(directory.path, 'maker');
    board = SwupdateBoard.create(directory.path, FACTORY, key.certificatePath);
    const options = { devices: devicesOf(board), attributes: 'installed-directly = true;' };
    const content = makeSwu(directory.path, IMAGE, key, options);
    writeFileSync(staged, content);
    target = targetFor(content, { filename: 'update.swu' });
    await board.startDaemon();
  });
  after(async () => {
    await board.killDaemon();
    directory.remove();
  });

  /** @returns how it ended */
  const run = (tracer: readonly string[], more: Partial<Drive> = {}): Promise<string> => {
    const args = JSON.stringify({ directory: directory.path, staged, ...more });
    const command = [...tracer, process.execPath, DRIVER, args];
    const [program = '', ...rest] = command;
    // One thread for files: strace counts the calls of each thread by itself.
    const env = { ...process.env, NODE_COMPILE_CACHE, UV_THREADPOOL_SIZE: '1' };
    return new Promise((resolve) => {
      const child = execFile(program, rest, { env, timeout: 30_000 }, (_error, _out, said) => {
        resolve(child.signalCode ?? (said === '' ? String(child.exitCode) : said));
      });
    });
  };

  /** What runs after a power cut, and whether it is wholly one or the other. */
  const whatRuns = (): 'factory' | 'update' => {
    board.boot();
    const content = board.running(IMAGE.byteLength);
    if (content.equals(IMAGE)) return 'update';
    assert.ok(content.subarray(0, FACTORY.byteLength).equals(FACTORY), 'neither of both runs');
    return 'factory';
  };

  /** The next run of the agent brings the update to its end, from wherever it is; then all begins anew. */
  const converge = async (): Promise<void> => {
    const installer = installerOn(board);
    if (!(await installer.booted(target))) {
      await installer.check(target);
      await installer.write(target, staged, () => undefined);
      await installer.activate(target);
      assert.equal(whatRuns(), 'update');
    }
    assert.equal(await installer.booted(target), true);
    await installer.rollBack(target);
    assert.equal(whatRuns(), 'factory');
  };

  test('in the middle of the image', async () => {
    assert.equal(await run([], { killAtBytes: 1 }), 'SIGKILL');
    assert.equal(whatRuns(), 'factory');
    await converge();
  });

  const traced = (inject: string, ...more: string[]): Promise<string> =>
    run(['strace', '-f', '-qq', '-o', '/dev/null', ...more, '-e', `inject=${inject}`]);

  test('at any rename and fsync of its own', { skip: canTrace() }, async (t) => {
    const ended: string[] = [];
    for (const call of ['rename', 'fsync']) {
      for (let when = 1; when < MOST; when += 1) {
        const how = await traced(`${call}:signal=SIGKILL:when=${String(when)}`);
        const runs = whatRuns();
        ended.push(`${call} ${String(when)}: ${how}, ${runs}`);
        await converge();
        if (how === '0') break;
        assert.equal(how, 'SIGKILL');
      }
    }
    t.diagnostic(ended.join('; '));
    // Record before and after (rename, file, directory), and the slot between them.
    assert.equal(ended.length, 2 + 1 + 5 + 1);
    assert.match(ended.at(-1) ?? '', /: 0, update$/u);
  });

  test(
    'while fw_setenv writes: it is told, and the old image stays',
    { skip: canTrace() },
    async () => {
      const copies = ['env-1', 'env-2'].flatMap((name) => ['-P', join(directory.path, name)]);
      for (const call of ['write', 'fsync']) {
        const said = await traced(`${call}:signal=SIGKILL:when=1`, ...copies);
        assert.match(said, /^INSTALL_FAILED fw_setenv was ended by SIGKILL/u);
        const runs = whatRuns();
        assert.equal(runs, call === 'write' ? 'factory' : 'update', call);
        await converge();
      }
    },
  );
});
