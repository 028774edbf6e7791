/** Killing ostree, and the agent above it, in the middle: what boots then is always one whole image. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { OstreeInstaller } from '../../agent/io/installers/ostree/ostree.ts';
import { canBootOstree, OstreeDevice, useMemory } from '../support/ostree-device.ts';
import {
  commitTarget,
  DirectoryTreehub,
  makeOstreeRepo,
  ostree,
  type OstreeRepo,
} from '../support/ostree-repo.ts';
import { ostreeSettings } from '../support/ostree-settings.ts';
import { temporaryDirectory } from '../support/temporary.ts';

useMemory();
const skip = canBootOstree() ? false : 'booting a deployment needs ostree and root';
const DRIVER = join(import.meta.dirname, '../support/ostree-driver.ts');
const run = promisify(execFile);

/** What changes a directory, or makes changes last. */
const SYSTEM_CALLS = 'renameat,renameat2,symlinkat,unlinkat,linkat,mkdirat,fsync,fdatasync,syncfs';
const never = (): never => {
  throw new Error('a commit has no bytes to open');
};
const silent = (): void => undefined;

describe('ostree and power cuts', { skip }, () => {
  const temporary = temporaryDirectory('ostree-power-cut');
  let repo: OstreeRepo;
  let device: OstreeDevice;
  let target: ReturnType<typeof commitTarget>;
  /** A new one each time: nothing that it remembers may be needed. */
  const open = (): OstreeInstaller =>
    new OstreeInstaller(ostreeSettings(device.sysroot), new DirectoryTreehub(repo.path));

  before(async () => {
    repo = makeOstreeRepo(temporary.path);
    target = commitTarget(repo.update);
    device = await OstreeDevice.open(join(temporary.path, 'device'), repo);
  });
  afterEach(() => {
    device.setFault('');
    // Every test begins with the factory's image alone.
    device.keepRunningOnly();
  });
  after(async () => {
    await device.close();
    temporary.remove();
  });

  const take = async (): Promise<void> => {
    await open().receive(target, never, silent);
    await open().prove(target, silent);
  };
  const killAt = (command: string, when: number): void => {
    const inject = `-e trace=${SYSTEM_CALLS} -e inject=${SYSTEM_CALLS}:signal=KILL:when=${String(when)}`;
    const trace = `TRACE='strace -f -qq -o /dev/null ${inject}'`;
    device.setFault(`case "$*" in '${command}'*) ${trace} ;; esac`);
  };
  /** @returns whether it was killed, and not ready before */
  const killed = async (act: Promise<unknown>): Promise<boolean> => {
    const message = await act.then(
      () => '',
      (error: unknown) => String(error),
    );
    if (message !== '') assert.match(message, /ended by SIGKILL/u);
    device.setFault('');
    return message !== '';
  };
  /** Boots whatever the boot loader would, and looks whether all of it is there. */
  const bootsWhole = async (): Promise<string> => {
    await device.boot();
    const version = device.running();
    assert.ok(['factory', 'update'].includes(version), version);
    const commit = version === 'factory' ? repo.factory : repo.update;
    for (const file of ['/usr/lib/big', '/usr/lib/file-7', '/usr/lib/os-release']) {
      const expected = ostree('cat', `--repo=${repo.path}`, commit, file);
      assert.equal(readFileSync(device.file(file), 'utf8'), expected, `${version} ${file}`);
    }
    return version;
  };

  for (const [command, points] of [
    ['pull', [1, 10]],
    ['refs --force', [1]],
  ] as const) {
    test(`${command} killed: the next try goes on, and the image is whole`, async () => {
      for (const when of points) {
        killAt(command, when);
        assert.equal(await killed(take()), true, String(when));
        assert.equal(await bootsWhole(), 'factory');
        await take();
        await open().rollBack(target);
      }
    });
  }

  test('deploy and undeploy killed at each kind of step: one of both images boots, then the chosen', async () => {
    let kills = 0;
    for (const when of [1, 12, 45]) {
      await take();
      killAt('admin deploy', when);
      if (await killed(open().activate(target))) kills += 1;
      await bootsWhole();
      await open().activate(target);
      assert.match(device.nextRoot(), new RegExp(repo.update, 'u'));
      killAt('admin undeploy', when);
      if (await killed(open().rollBack(target))) kills += 1;
      assert.match(device.nextRoot(), new RegExp(`${repo.factory}|${repo.update}`, 'u'));
      await open().rollBack(target);
      assert.equal(await bootsWhole(), 'factory');
    }
    assert.ok(kills >= 4, `only ${String(kills)} were killed on the way`);
  });

  for (const command of ['pull', 'fsck', 'admin deploy']) {
    test(`the agent killed while ${command} goes on without it: the next agent ends the update`, async () => {
      const once = `[ -e '${device.directory}/done' ] || { : > '${device.directory}/done'; kill -KILL $PPID; }`;
      device.setFault(`case "$*" in '${command}'*) ${once} ;; esac`);
      const agent = (): Promise<unknown> =>
        run(process.execPath, [DRIVER, device.sysroot, repo.path, repo.update]);
      await assert.rejects(agent(), { signal: 'SIGKILL' });
      await agent();
      assert.equal(await bootsWhole(), 'update');
      await open().rollBack(target);
      assert.equal(await bootsWhole(), 'factory');
      await run('rm', [join(device.directory, 'done')]);
    });
  }
});
