/** Installing through a service of its own: the contract, and what an agent that was taken over may not. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';

import { isOtaError, OtaError } from '../../agent/errors.ts';
import { FileInstaller } from '../../agent/io/installers/file.ts';
import { messageIn, Wire } from '../../agent/io/installers/separate/wire.ts';
import type { Installer } from '../../agent/ports.ts';
import { trust } from '../../agent/uptane/trust.ts';
import {
  installerContract,
  type InstallerFixture,
  type Running,
} from '../contract/installer.contract.ts';
import { download, FACTORY, ignore, UPDATE, whichImage } from '../support/ab-slot.ts';
import { withMarker } from '../support/ab-slot-devices.ts';
import * as board from '../support/directory-board.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { fileDevice } from '../support/file-device.ts';
import {
  behindSocket,
  separated,
  SignedRelease,
  type Separated,
} from '../support/separate-installer.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

function directoryDevice(directory: string): InstallerFixture {
  const { installer, path } = board.openBoard(directory);
  const target = targetFor(board.UPDATE, { filename: 'release.tar' });
  const running = (): Running => board.runningTree(path);
  return { installer, target, content: board.UPDATE, running, boot: () => undefined };
}

installerContract('separate, file', (directory) => behindSocket(directory, fileDevice(directory)));
installerContract('separate, directory', (directory) =>
  behindSocket(directory, directoryDevice(directory)),
);
installerContract('separate, ab-slot', (directory) =>
  behindSocket(directory, withMarker(directory)),
);

interface Bench extends Separated {
  readonly release: SignedRelease;
  readonly path: string;
}

async function bench(t: TestContext, changes: Partial<Installer> = {}): Promise<Bench> {
  const directory = temporaryDirectory('separate');
  const path = join(directory.path, 'installed.bin');
  writeFileSync(path, FACTORY);
  const release = new SignedRelease();
  const own = Object.assign(new FileInstaller(path), changes);
  const device = await separated(directory.path, own, release);
  t.after(async () => {
    await device.close();
    directory.remove();
  });
  return { ...device, release, path };
}

const untouched = ({ path }: Bench): void => {
  assert.equal(whichImage(readFileSync(path)), 'factory');
  assert.ok(!existsSync(`${path}.next`));
};

describe('an agent that somebody has taken over', () => {
  test('cannot install what nobody has signed', async (t) => {
    const device = await bench(t);
    const { installer, release } = device;
    release.publish(UPDATE, 'rootfs.img');
    const forged = targetFor(Buffer.from('malware'), { filename: 'rootfs.img' });
    const cause =
      'rootfs.img (targetFormat none) is not what both repositories have signed for this ECU, by what the installer (file) itself has verified';
    const refused = { installer: 'file', ecu: 'ecu-1', cause };
    await rejectsCode(installer.check(forged), 'INSTALL_FAILED', refused);
    const bytes = (): AsyncIterable<Uint8Array> => download(Buffer.from('malware'));
    await rejectsCode(installer.receive(forged, bytes, ignore), 'INSTALL_FAILED', refused);
    await rejectsCode(installer.prove(forged, ignore), 'INSTALL_FAILED', refused);
    await rejectsCode(installer.activate(forged), 'INSTALL_FAILED', refused);
    untouched(device);
  });

  test('cannot bring metadata of its own: the roots are those of the configuration', async (t) => {
    const device = await bench(t);
    const { release, installer } = device;
    const target = release.publish(UPDATE, 'rootfs.img');
    const theirs = new SignedRelease();
    theirs.publish(UPDATE, 'rootfs.img');
    for (const file of ['timestamp.json', 'snapshot.json', 'targets.json']) {
      release.director.served.set(file, theirs.director.file(file));
    }
    await rejectsCode(installer.check(target), 'THRESHOLD_NOT_MET', {
      repo: 'director',
      role: 'timestamp',
      valid: 0,
      threshold: 1,
    });
    untouched(device);
  });

  test('cannot go back to metadata that was good once', async (t) => {
    const device = await bench(t);
    const { release, installer } = device;
    const old = release.publish(Buffer.from('old and vulnerable'), 'old.img');
    const before = new Map(release.director.served);
    const target = release.publish(UPDATE, 'rootfs.img');
    await installer.check(target);
    for (const [file, bytes] of before) release.director.served.set(file, bytes);
    await rejectsCode(installer.check(old), 'VERSION_ROLLBACK', {
      repo: 'director',
      role: 'timestamp',
      trusted: 2,
      offered: 1,
    });
    // Nor is the verdict that it has still there to be used.
    await assert.rejects(installer.prove(target, ignore), isOtaError);
    untouched(device);
  });

  test('cannot install a lower release than one that was confirmed', async (t) => {
    const device = await bench(t);
    const { release, installer } = device;
    const target = release.publish(UPDATE, 'rootfs.img', 7);
    await installer.receive(target, (at) => download(UPDATE, at), ignore);
    await installer.prove(target, ignore);
    await installer.activate(target);
    await installer.confirm(target);
    const lower = release.publish(Buffer.from('lower'), 'lower.img', 6);
    await rejectsCode(installer.check(lower), 'RELEASE_COUNTER_ROLLBACK', {
      ecu: 'ecu-1',
      filename: 'lower.img',
      trusted: 7,
      offered: 6,
    });
  });

  test('cannot send other bytes than were signed, nor more of them', async (t) => {
    const device = await bench(t);
    const { release, installer } = device;
    const target = release.publish(UPDATE, 'rootfs.img');
    const changed = Buffer.from(UPDATE).fill(0, 0, 1);
    const refusedAs = (code: string) => (error: unknown) =>
      isOtaError(error) && error.code === code;
    await assert.rejects(
      installer.receive(target, (at) => download(changed, at), ignore),
      refusedAs('IMAGE_HASH_MISMATCH'),
    );
    const longer = Buffer.concat([UPDATE, UPDATE, UPDATE]);
    await assert.rejects(
      installer.receive(target, (at) => download(longer, at), ignore),
      refusedAs('IMAGE_TOO_LARGE'),
    );
    // The connection was given up in the middle of a stream; the next one works.
    await installer.receive(target, (at) => download(UPDATE, at), ignore);
    await installer.prove(target, ignore);
    assert.equal(whichImage(readFileSync(device.path)), 'factory');
  });

  test('cannot have one ECU’s image put on another', async (t) => {
    const device = await bench(t);
    const target = device.release.publish(UPDATE, 'rootfs.img');
    const other = trust({ ...target, ecu: 'ecu-2' });
    await assert.rejects(device.installer.check(other), isOtaError);
    const request = { do: 'check', ecu: 'ecu-1', target: other };
    await rejectsCode(device.link.ask(request), 'METADATA_MALFORMED', {
      path: 'message.ecu',
      want: 'that of the target',
    });
    untouched(device);
  });

  for (const [what, bytes] of [
    ['a frame that never ends', Buffer.from('ffffffff0000000000', 'hex')],
    ['a frame of no kind', Buffer.from('0000000107ff', 'hex')],
    ['a message that is no JSON', Buffer.from('00000001007b', 'hex')],
    ['bytes where a message has to be', Buffer.from('000000010161', 'hex')],
  ] as const) {
    test(`gets no answer but a refusal to ${what}`, async (t) => {
      const device = await bench(t);
      const socket = connect(device.socket);
      const wire = new Wire(socket);
      socket.write(bytes);
      const answer = await wire.receive();
      if (answer !== undefined) {
        const said = messageIn(answer);
        assert.deepEqual(
          [said.string('say'), said.string('code')],
          ['failed', 'METADATA_MALFORMED'],
        );
      }
      wire.close();
      assert.notEqual(Object.keys(await device.installer.describe()).length, 0);
    });
  }
});

test('a download that fails is that failure, and no failure of the installer', async (t) => {
  const { release, installer } = await bench(t);
  const target = release.publish(UPDATE, 'rootfs.img');
  const details = { filename: 'rootfs.img', url: 'https://gw', cause: 'reset' };
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(UPDATE.subarray(0, 1000));
    throw new OtaError('DOWNLOAD_FAILED', details);
  }
  await rejectsCode(installer.receive(target, broken, ignore), 'DOWNLOAD_FAILED', details);
  const offsets: number[] = [];
  const resumed = (at: number): AsyncIterable<Uint8Array> => {
    offsets.push(at);
    return download(UPDATE, at);
  };
  await installer.receive(target, resumed, ignore);
  assert.deepEqual(offsets, [1000]);
});

test('an installer that ended while nothing was asked of it is started again', async (t) => {
  const device = await bench(t);
  const { installer } = device;
  const before = await installer.describe();
  device.hangUp();
  assert.deepEqual(await installer.describe(), before);
});

test('an installer that cannot be reached is an INSTALL_FAILED that says how to start it', async (t) => {
  const device = await bench(t);
  await device.close();
  await assert.rejects(device.installer.describe(), (error) => {
    if (!isOtaError(error) || error.code !== 'INSTALL_FAILED') return false;
    return error.details.cause.includes('systemctl enable --now ota-agent-installer.socket');
  });
});
