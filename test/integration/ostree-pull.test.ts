/** `ostree pull` through the proxy of the agent: what goes wrong on the way, and what it costs. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { OtaError } from '../../agent/errors.ts';
import { OstreeInstaller, type OstreeSettings } from '../../agent/io/installers/ostree/ostree.ts';
import { TreehubProxy } from '../../agent/io/installers/ostree/treehub-proxy.ts';
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
import { temporaryDirectory } from '../support/temporary.ts';

useMemory();
const skip = canBootOstree() ? false : 'booting a deployment needs ostree and root';
const shared = temporaryDirectory('ostree-pull-server');
let repo: OstreeRepo;
let device: OstreeDevice;

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

describe('a pull through the proxy', { skip }, () => {
  const temporary = temporaryDirectory('ostree-pull');
  let treehub: DirectoryTreehub;
  const open = (changes: Partial<OstreeSettings> = {}): OstreeInstaller =>
    new OstreeInstaller(ostreeSettings(device.sysroot, changes), treehub);
  const target = (): ReturnType<typeof commitTarget> => commitTarget(repo.update);
  const receive = (installer = open()): Promise<void> => installer.receive(target(), never, silent);
  const filename = (): string => `${OS}-${repo.update}`;
  const url = 'https://gateway/treehub';

  before(async () => {
    device = await OstreeDevice.open(temporary.path, repo);
  });
  beforeEach(() => {
    treehub = new DirectoryTreehub(repo.path);
  });
  afterEach(async () => {
    // What was only pulled goes, so that the next test begins with nothing.
    await open().rollBack(target());
  });
  after(async () => {
    await device.close();
    temporary.remove();
  });

  test('a commit that is missing is a DOWNLOAD_FAILED that names it', async () => {
    treehub.fault = (path) => (path.endsWith('.commit') ? 'missing' : undefined);
    const object = `objects/${repo.update.slice(0, 2)}/${repo.update.slice(2)}.commit`;
    await rejectsCode(receive(), 'DOWNLOAD_FAILED', {
      filename: filename(),
      url,
      cause: `the treehub has no ${object}`,
    });
  });

  test('an object with a flipped bit is an IMAGE_HASH_MISMATCH with both checksums', async () => {
    let name = '';
    treehub.fault = (path, content) => {
      if (!path.endsWith('.commit')) return undefined;
      name = path.slice('objects/'.length, -'.commit'.length).replace('/', '');
      const changed = Buffer.from(content);
      changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
      return fileOf(changed);
    };
    await assert.rejects(receive(), (error) => {
      assert.ok(error instanceof OtaError && error.code === 'IMAGE_HASH_MISMATCH', String(error));
      const { signed, computed, algorithm } = error.details as Record<string, string>;
      assert.deepEqual([algorithm, signed], ['sha256', name]);
      assert.match(String(computed), /^[0-9a-f]{64}$/u);
      return true;
    });
    assert.equal(existsSync(join(device.repo, 'objects', name.slice(0, 2), name.slice(2))), false);
  });

  test('an object that is cut short is a DOWNLOAD_FAILED, and is never deployed', async () => {
    treehub.fault = (path, content) =>
      path.endsWith('.filez') ? fileOf(content.subarray(0, -7)) : undefined;
    await assert.rejects(receive(), (error) => {
      assert.ok(error instanceof OtaError && error.code === 'DOWNLOAD_FAILED', String(error));
      return true;
    });
    await assert.rejects(open().prove(target(), silent));
    await assert.rejects(open().activate(target()));
  });

  test('a server that goes away mid-pull: the next pull asks only for what is missing', async () => {
    let files = 0;
    const gone = new OtaError('GATEWAY_UNREACHABLE', { url, cause: 'gone', remedy: 'wait' });
    treehub.fault = (path) => {
      if (path.endsWith('.filez')) files += 1;
      return files > 1 ? gone : undefined;
    };
    await rejectsCode(receive(), 'DOWNLOAD_FAILED', {
      filename: filename(),
      url,
      cause: gone.message,
    });
    treehub.fault = () => undefined;
    const first = new Set(treehub.requests.splice(0));
    await receive();
    const again = treehub.requests.filter((path) => path.endsWith('.filez'));
    assert.equal(again.length, 2, again.join(' '));
    assert.ok([...first].some((path) => path.endsWith('.filez') && !again.includes(path)));
    await open().prove(target(), silent);
  });

  test('a pull of what is there already asks for nothing', async () => {
    await receive();
    treehub.requests.splice(0);
    await receive();
    assert.deepEqual(treehub.requests, []);
  });

  test('endless data ends at the most that one pull may bring', async () => {
    const maxPullBytes = 100_000;
    await rejectsCode(receive(open({ maxPullBytes })), 'IMAGE_TOO_LARGE', {
      filename: filename(),
      lengthBytes: maxPullBytes,
    });
  });

  test('a program that is killed, or hangs, is an INSTALL_FAILED that says what to do', async () => {
    device.setFault('case "$1" in pull) kill -KILL $$ ;; esac');
    const failed = { installer: 'ostree', ecu: 'ecu-1' };
    const killed =
      'ostree was ended by SIGKILL: ; see the system log; it goes on from there with the next try';
    await rejectsCode(receive(), 'INSTALL_FAILED', { ...failed, cause: killed });
    device.setFault('case "$1" in pull) sleep 60 ;; esac');
    const late =
      'ostree did not end within 1 s; see whether another ostree holds its lock, or whether installer.ostree_timeout is too short';
    await rejectsCode(receive(open({ timeoutMs: 1000 })), 'INSTALL_FAILED', {
      ...failed,
      cause: late,
    });
    device.setFault('');
    await receive();
  });

  test('rules for signatures of a remote that the owner made stay in force', async () => {
    const remote = ['remote', 'add', `--repo=${device.repo}`, '--set=gpg-verify=true', 'vendor'];
    ostree(...remote, 'https://vendor.example');
    await assert.rejects(receive(open({ remote: 'vendor' })), (error) => {
      assert.ok(error instanceof OtaError && error.code === 'INSTALL_FAILED', String(error));
      assert.match(error.message, /GPG/u);
      return true;
    });
  });

  describe('where the server has a static delta', () => {
    const bytesOf = async (server: string, delayMs = 0): Promise<number> => {
      treehub = new DirectoryTreehub(server);
      treehub.delayMs = (path) => (/^deltas\/.*\/\d+$/u.test(path) ? delayMs : 0);
      let received = 0;
      await open().receive(target(), never, (done) => (received = done));
      await open().prove(target(), silent);
      await open().rollBack(target());
      return received;
    };
    let server: string;
    before(() => {
      server = join(shared.path, 'with-delta');
      cpSync(repo.path, server, { recursive: true });
      const ends = [`--from=${repo.factory}`, `--to=${repo.update}`];
      ostree('static-delta', 'generate', `--repo=${server}`, ...ends, '--min-fallback-size=0');
      ostree('summary', `--repo=${server}`, '--update');
    });

    for (const delayMs of [0, 1500]) {
      test(`it takes a tenth of the bytes, also when its parts are ${String(delayMs)} ms late`, async (t) => {
        const objects = await bytesOf(repo.path);
        const delta = await bytesOf(server, delayMs);
        t.diagnostic(`objects ${String(objects)} bytes, static delta ${String(delta)} bytes`);
        assert.ok(delta < objects / 10, treehub.requests.join(' '));
      });
    }

    test('and of a commit with detached metadata, nothing else is asked for', async () => {
      const tree = [`--tree=ref=${repo.update}`, '--owner-uid=0', '--owner-gid=0', '--no-xattrs'];
      const detached = ['--add-detached-metadata-string=note=detached', '--branch=noted'];
      const noted = ostree('commit', `--repo=${server}`, ...tree, ...detached).trim();
      const ends = [`--from=${repo.factory}`, `--to=${noted}`, '--min-fallback-size=0'];
      ostree('static-delta', 'generate', `--repo=${server}`, ...ends);
      ostree('summary', `--repo=${server}`, '--update');
      treehub = new DirectoryTreehub(server);
      await open().receive(commitTarget(noted), never, silent);
      await open().prove(commitTarget(noted), silent);
      await open().rollBack(commitTarget(noted));
      const objects = treehub.requests.filter((path) => path.startsWith('objects/'));
      assert.deepEqual(objects, [`objects/${noted.slice(0, 2)}/${noted.slice(2)}.commitmeta`]);
    });

    test('and a flipped bit in it is found', async () => {
      treehub = new DirectoryTreehub(server);
      treehub.fault = (path, content) => {
        if (!/^deltas\/.*\/0$/u.test(path)) return undefined;
        const changed = Buffer.from(content);
        changed.writeUInt8(changed.readUInt8(40) ^ 1, 40);
        return fileOf(changed);
      };
      await assert.rejects(receive(), (error) => error instanceof OtaError);
      assert.ok(treehub.requests.some((path) => path.startsWith('deltas/')));
      await assert.rejects(open().activate(target()));
    });
  });
});

describe('the proxy', () => {
  let proxy: TreehubProxy;
  const asked: string[] = [];
  before(async () => {
    const treehub = {
      open: (path: string) => {
        asked.push(path);
        return Promise.resolve(fileOf(Buffer.from('content')));
      },
    };
    const limits = { filename: 'f', maxBytes: 1000, onBytes: () => undefined };
    proxy = await TreehubProxy.open(treehub, limits);
  });
  beforeEach(() => {
    asked.splice(0);
  });
  after(() => proxy.close());

  const ask = (
    path: string,
    { method = 'GET', secret = new URL(proxy.url).password } = {},
  ): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(proxy.url);
      const basic = Buffer.from(`ota-agent:${secret}`).toString('base64');
      const headers = { 'proxy-authorization': `Basic ${basic}` };
      request({ hostname, port, path, method, headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });

  test('listens on loopback only', () => {
    assert.equal(new URL(proxy.url).hostname, '127.0.0.1');
  });

  test('lets in nobody without its secret', async () => {
    assert.equal(await ask('http://treehub.invalid/config', { secret: 'guess' }), 407);
    assert.deepEqual(asked, []);
  });

  test('hands out files of a repository that have checksums for names, and no refs', async () => {
    const hex = 'ab'.repeat(31);
    assert.equal(await ask(`http://treehub.invalid/objects/00/${hex}.filez`), 200);
    assert.equal(await ask('http://treehub.invalid/config'), 200);
    assert.deepEqual(asked.splice(0), [`objects/00/${hex}.filez`, 'config']);
    for (const path of [
      'http://treehub.invalid/refs/heads/main',
      'http://treehub.invalid/objects/../../director/targets.json',
      `http://treehub.invalid/objects/00/${hex}.filez?x=1`,
      'http://gateway.example/config',
      '/config',
    ]) {
      assert.equal(await ask(path), 403, path);
    }
    assert.equal(await ask('http://treehub.invalid/config', { method: 'PUT' }), 405);
    assert.deepEqual(asked, []);
  });
});

describe('a disk that does not take it', { skip }, () => {
  const temporary = temporaryDirectory('ostree-disk');
  const disk = join(temporary.path, 'disk');
  const open = (): OstreeInstaller =>
    new OstreeInstaller(ostreeSettings(device.sysroot), new DirectoryTreehub(repo.path));
  const target = (): ReturnType<typeof commitTarget> => commitTarget(repo.update);

  before(async () => {
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk]);
    device = await OstreeDevice.open(disk, repo);
  });
  after(async () => {
    await device.close();
    execFileSync('umount', ['-l', disk]);
    temporary.remove();
  });

  test('full: SPACE_INSUFFICIENT with what is missing, before ostree’s own reserve is touched', async () => {
    const { bavail, blocks, bsize } = statfsSync(disk);
    const filler = join(disk, 'filler');
    // What is left is above the reserve of 3 %, and too little for the file that changed.
    writeFileSync(filler, Buffer.alloc(bavail * bsize - 420_000));
    await assert.rejects(open().receive(target(), never, silent), (error) => {
      assert.ok(error instanceof OtaError && error.code === 'SPACE_INSUFFICIENT', String(error));
      const { path, neededBytes, freeBytes } = error.details as Record<string, number | string>;
      assert.equal(path, device.repo);
      assert.ok(Number(neededBytes) > Number(freeBytes));
      assert.ok(
        Number(neededBytes) >= blocks * bsize * 0.03 + 400_000,
        `${String(error.cause)} ${String(neededBytes)}`,
      );
      return true;
    });
    rmSync(filler);
    await open().receive(target(), never, silent);
    await open().rollBack(target());
  });

  test('read-only: INSTALL_FAILED with ostree’s words', async () => {
    execFileSync('mount', ['-o', 'remount,ro', disk]);
    try {
      await assert.rejects(open().receive(target(), never, silent), (error) => {
        assert.ok(error instanceof OtaError && error.code === 'INSTALL_FAILED', String(error));
        assert.match(error.message, /Read-only file system/u);
        return true;
      });
    } finally {
      execFileSync('mount', ['-o', 'remount,rw', disk]);
    }
  });
});
