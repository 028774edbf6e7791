/** The ostree installer against the real ostree, on a device that booted from one of its deployments. */
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { OtaError } from '../../agent/errors.ts';
import { FileInstaller } from '../../agent/io/installers/file.ts';
import { OstreeInstaller, type OstreeSettings } from '../../agent/io/installers/ostree/ostree.ts';
import { installerContract, type Running } from '../contract/installer.contract.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { canBootOstree, OstreeDevice, useMemory } from '../support/ostree-device.ts';
import {
  commitTarget,
  DirectoryTreehub,
  fileOf,
  makeOstreeRepo,
  OS,
  ostree,
  type OstreeRepo,
} from '../support/ostree-repo.ts';
import { ostreeSettings } from '../support/ostree-settings.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

useMemory();
const skip = canBootOstree() ? false : 'booting a deployment needs ostree and root';
const shared = temporaryDirectory('ostree-server');
let repo: OstreeRepo;

before(() => {
  if (skip === false) repo = makeOstreeRepo(shared.path);
});
after(() => {
  shared.remove();
});

const never = (): never => {
  throw new Error('a commit has no bytes to open');
};
const silent = (): void => undefined;

if (skip === false) {
  installerContract('ostree', async (directory) => {
    const device = await OstreeDevice.open(directory, repo);
    const treehub = new DirectoryTreehub(repo.path);
    return {
      installer: new OstreeInstaller(ostreeSettings(device.sysroot), treehub),
      target: commitTarget(repo.update),
      content: Buffer.from('a commit has no bytes'),
      running: () => whichIs(device),
      boot: () => device.boot(),
      close: () => device.close(),
      spoil: () => {
        treehub.fault = (path, content) => (path.endsWith('.filez') ? flipped(content) : undefined);
      },
    };
  });
}

function whichIs(device: OstreeDevice): Running {
  const version = device.running();
  return version === 'factory' || version === 'update' ? version : `neither: ${version}`;
}

function flipped(content: Buffer): ReturnType<typeof fileOf> {
  const changed = Buffer.from(content);
  // In the compressed data: the header has its own check.
  changed.writeUInt8(changed.readUInt8(changed.length - 4) ^ 1, changed.length - 4);
  return fileOf(changed);
}

describe('ostree', { skip }, () => {
  let temporary: ReturnType<typeof temporaryDirectory>;
  let device: OstreeDevice;
  let treehub: DirectoryTreehub;
  let target: ReturnType<typeof commitTarget>;
  const open = (changes: Partial<OstreeSettings> = {}): OstreeInstaller =>
    new OstreeInstaller(ostreeSettings(device.sysroot, changes), treehub);

  beforeEach(async () => {
    temporary = temporaryDirectory('ostree');
    device = await OstreeDevice.open(temporary.path, repo);
    treehub = new DirectoryTreehub(repo.path);
    target = commitTarget(repo.update);
  });
  afterEach(async () => {
    await device.close();
    temporary.remove();
  });

  const install = async (installer: OstreeInstaller): Promise<void> => {
    await installer.check(target);
    await installer.receive(target, never, silent);
    await installer.prove(target, silent);
    await installer.activate(target);
  };

  test('the signed commit is deployed beside the one that ran; no ref is ever asked for', async () => {
    writeFileSync(device.file('etc/settings'), 'changed here\n');
    await install(open({ kernelArguments: ['console=ttyS0'] }));
    assert.ok(treehub.requests.includes(objectOf(repo.update)));
    const unasked = [objectOf(repo.factory), 'refs/heads/main'];
    assert.deepEqual(
      treehub.requests.filter((path) => unasked.includes(path)),
      [],
    );
    assert.match(device.kernelArguments, /\bquiet\b.* console=ttyS0\b/u);
    await device.boot();
    assert.equal(readFileSync(device.file('etc/settings'), 'utf8'), 'changed here\n');
    const { deployments } = await open().describe();
    assert.equal(deployments, `${repo.update}, ${repo.factory} (rollback)`);
  });

  test('where ostree has set-default, the deployment from before is chosen as it is', async () => {
    writeFileSync(device.file('etc/settings'), 'of the factory\n');
    await install(open());
    await device.boot();
    writeFileSync(device.file('etc/settings'), 'changed by the update\n');
    device.offerSetDefault();
    await open().rollBack(target);
    await open().rollBack(target);
    await device.boot();
    assert.equal(device.running(), 'factory');
    assert.equal(readFileSync(device.file('etc/settings'), 'utf8'), 'of the factory\n');
    assert.equal(device.calls().filter((call) => call.startsWith('admin set-default')).length, 1);
  });

  test('after a roll-back nothing of the update is left to be kept', async () => {
    const installer = open();
    await install(installer);
    await installer.rollBack(target);
    await device.boot();
    assert.equal(device.running(), 'factory');
    assert.equal(existsSync(join(device.repo, objectOf(repo.update))), false);
  });

  test('a staged deployment is written when the system goes down in order', async () => {
    const installer = open({ finalize: 'shutdown' });
    await install(installer);
    await installer.activate(target);
    writeFileSync(device.file('etc/settings'), 'changed at the last moment\n');
    assert.equal(device.nextRoot().includes(repo.factory), true, 'not before');
    await device.reboot();
    assert.equal(await installer.booted(target), true);
    assert.equal(readFileSync(device.file('etc/settings'), 'utf8'), 'changed at the last moment\n');
  });

  test('a staged deployment is gone after a power cut, and after a roll-back', async () => {
    const installer = open({ finalize: 'shutdown' });
    await install(installer);
    await device.boot();
    assert.equal(await installer.booted(target), false);
    await installer.activate(target);
    await installer.rollBack(target);
    await device.reboot();
    assert.equal(device.running(), 'factory');
  });

  test('going back without a deployment to go back to says so', async () => {
    await rejectsCode(open().rollBack(commitTarget(repo.factory)), 'INSTALL_FAILED', {
      installer: 'ostree',
      ecu: 'ecu-1',
      cause: `there is no deployment to go back to: ${repo.factory} is the only one of ${OS}`,
    });
  });

  test('an object that was damaged on the disk is found, removed and pulled again', async () => {
    const installer = open();
    await installer.receive(target, never, silent);
    const object = join(
      device.repo,
      'objects',
      objectOfFile(device.repo, repo.update, '/usr/lib/changed'),
    );
    appendFileSync(object, 'x');
    await assert.rejects(installer.prove(target, silent), (error) => {
      assert.ok(error instanceof OtaError && error.code === 'IMAGE_HASH_MISMATCH', String(error));
      return true;
    });
    await assert.rejects(installer.activate(target));
    await install(installer);
    await device.boot();
    assert.equal(device.running(), 'update');
  });

  test('damage in the image that is to be replaced does not stop an update', async () => {
    const object = objectOfFile(device.repo, repo.factory, '/usr/lib/big');
    appendFileSync(join(device.repo, 'objects', object), 'x');
    await install(open());
    await device.boot();
    assert.equal(device.running(), 'update');
  });

  test('every signed hash is held against the commit, not sha256 alone', async () => {
    const signed = '0'.repeat(128);
    const hashes = new Map([...target.hashes, ['sha512', signed]]);
    const strange = commitTarget(repo.update, { hashes });
    const installer = open();
    await installer.receive(strange, never, silent);
    await assert.rejects(installer.prove(strange, silent), (error) => {
      assert.ok(error instanceof OtaError && error.code === 'IMAGE_HASH_MISMATCH', String(error));
      return true;
    });
  });
});

describe('ostree refuses before anything is downloaded', { skip }, () => {
  let temporary: ReturnType<typeof temporaryDirectory>;
  let device: OstreeDevice;
  const open = (changes: Partial<OstreeSettings> = {}): OstreeInstaller =>
    new OstreeInstaller(ostreeSettings(device.sysroot, changes), new DirectoryTreehub(repo.path));
  const refuses = async (installer: OstreeInstaller, cause: string): Promise<void> => {
    const details = { installer: 'ostree', ecu: 'ecu-1', cause };
    await rejectsCode(installer.check(commitTarget(repo.update)), 'INSTALL_FAILED', details);
  };

  before(async () => {
    temporary = temporaryDirectory('ostree-check');
    device = await OstreeDevice.open(temporary.path, repo);
  });
  afterEach(() => {
    device.setFault('');
  });
  after(async () => {
    await device.close();
    temporary.remove();
  });

  test('a file, and a file installer a commit, naming both', async () => {
    await rejectsCode(
      open().check(targetFor(Buffer.from('x'), { format: 'BINARY' })),
      'INSTALL_FAILED',
      {
        installer: 'ostree',
        ecu: 'ecu-1',
        cause:
          'rootfs.img has targetFormat BINARY and 1 bytes, which installer.type = "ostree" cannot install: assign another image, or set the installer that can',
      },
    );
    const file = new FileInstaller(join(temporary.path, 'file'));
    await rejectsCode(file.check(commitTarget(repo.update, { filename: 'os' })), 'INSTALL_FAILED', {
      installer: 'file',
      ecu: 'ecu-1',
      cause:
        'os has targetFormat OSTREE and 0 bytes, which installer.type = "file" cannot install: assign another image, or set the installer that can',
    });
  });

  test('a target without sha256, because only that names a commit', async () => {
    const hashes = new Map([['sha512', '0'.repeat(128)]]);
    await rejectsCode(
      open().check(commitTarget('', { hashes, filename: 'os' })),
      'INSTALL_FAILED',
      {
        installer: 'ostree',
        ecu: 'ecu-1',
        cause: 'os is signed without sha256, which names the commit: sign it again with that',
      },
    );
  });

  test('a system of another name', async () => {
    const cause = `${OS} runs, and installer.ostree_os says other: set it to what runs`;
    await refuses(open({ os: 'other' }), cause);
  });

  test('a system that no deployment booted', async () => {
    // Outside of the booted system, as on a machine without OSTree.
    device.setFault(`exec /usr/bin/ostree "$@"`);
    const cause = `what runs was not booted from an OSTree deployment of ${device.sysroot}: see ostree admin status`;
    await refuses(open(), cause);
  });

  test('a repository that does not sync', async () => {
    ostree('config', `--repo=${device.repo}`, 'set', 'core.fsync', 'false');
    const cause = `core.fsync is off in ${device.repo}/config: a power cut would spoil images; set it to true`;
    await refuses(open(), cause);
    ostree('config', `--repo=${device.repo}`, 'unset', 'core.fsync');
  });

  test('a program that is missing, crashes or hangs', async () => {
    device.setFault('kill -SEGV $$');
    await refuses(
      open(),
      'ostree was ended by SIGSEGV: ; see the system log; it goes on from there with the next try',
    );
    device.setFault('sleep 60');
    await refuses(
      open({ timeoutMs: 200 }),
      'ostree did not end within 0.2 s; see whether another ostree holds its lock, or whether installer.ostree_timeout is too short',
    );
    const path = process.env['PATH'];
    process.env['PATH'] = temporary.path;
    try {
      await refuses(open(), 'ostree cannot be run: ENOENT: spawn ostree ENOENT; install ostree');
    } finally {
      process.env['PATH'] = path;
    }
  });
});

function objectOf(commit: string): string {
  return `objects/${commit.slice(0, 2)}/${commit.slice(2)}.commit`;
}

/** Below `objects/`. */
function objectOfFile(path: string, commit: string, file: string): string {
  const listed = ostree('ls', `--repo=${path}`, '--checksum', commit, file);
  const checksum = /\b[0-9a-f]{64}\b/u.exec(listed)?.[0] ?? '';
  return `${checksum.slice(0, 2)}/${checksum.slice(2)}.file`;
}
