/** Containers by digest, with the real podman where it can run here. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { ComposeInstaller } from '../../agent/io/installers/compose/compose.ts';
import { parseDefinition } from '../../agent/io/installers/compose/definition.ts';
import {
  installerContract,
  takeImage,
  type InstallerFixture,
  type Running,
} from '../contract/installer.contract.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { useMemory } from '../support/ostree-device.ts';
import { Podman, podmanProblem } from '../support/podman.ts';
import { behindSocket } from '../support/separate-installer.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

useMemory();

const DIGEST = 'a'.repeat(64);
const LIMITS = { maxBytes: 64 * 1024 * 1024, maxEntries: 100, allowSetuid: false };

describe('a compose file', () => {
  const wanting = (found: string): RegExp =>
    new RegExp(`service app has image ${found}, want NAME@sha256:DIGEST and no tag`, 'u');
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['with a tag', '{image: app:1}', wanting('"app:1"')],
    ['with tag and digest', `{image: "app:1@sha256:${DIGEST}"}`, wanting('"app:1@sha256:a+"')],
    ['with no image', '{command: run}', wanting('"nothing"')],
    ['with a variable', '{image: "${IMAGE}"}', wanting('"\\$\\{IMAGE\\}"')],
    ['with a short digest', '{image: "app@sha256:abc"}', wanting('"app@sha256:abc"')],
    ['that builds', '{build: .}', /service app has "build"/u],
    ['that extends another', `{extends: {file: b.yml, service: app}}`, /has "extends"/u],
  ];
  for (const [what, service, problem] of cases) {
    test(`${what} is refused`, () => {
      assert.throws(() => parseDefinition(`services: {app: ${service}}`), problem);
    });
  }

  test('that another reader of YAML may read differently is refused', () => {
    const image = `image: app@sha256:${DIGEST}`;
    const merged = `x: &x {image: "app:1"}\nservices:\n  app:\n    <<: *x\n`;
    assert.throws(() => parseDefinition(merged), /cannot be read: .*alias/iu);
    const twice = `services:\n  app:\n    ${image}\n    image: app:1\n`;
    assert.throws(() => parseDefinition(twice), /cannot be read: .*unique/u);
    assert.throws(() => parseDefinition('include: [b.yml]\nservices: {}'), /has "include"/u);
    assert.throws(() => parseDefinition('services: {}'), /has no services/u);
    assert.throws(() => parseDefinition('[]'), /is no mapping/u);
  });

  test('with digests is given to the engine as it was understood', () => {
    const image = `registry.example.com:5000/team/app@sha256:${DIGEST}`;
    const { images, text } = parseDefinition(`services:\n  app:\n    image: ${image}\n`);
    assert.deepEqual([...images], [['app', image]]);
    assert.deepEqual(JSON.parse(text), { services: { app: { image } } });
  });
});

test('an engine that is missing is named before anything is downloaded', async (t) => {
  const temporary = temporaryDirectory('compose');
  t.after(() => {
    temporary.remove();
  });
  const installer = new ComposeInstaller({
    kind: 'podman',
    engine: ['/nonexistent/podman'],
    compose: ['/nonexistent/podman-compose'],
    project: 'none',
    path: join(temporary.path, 'current'),
    limits: LIMITS,
    timeoutMs: 1000,
    healthMs: 1000,
  });
  const target = targetFor(Buffer.from('{}'), { filename: 'app.yml' });
  await rejectsCode(installer.check(target), 'INSTALL_FAILED', {
    installer: 'compose',
    ecu: 'ecu-1',
    cause: '/nonexistent/podman cannot be run: ENOENT: spawn /nonexistent/podman ENOENT',
  });
  await rejectsCode(
    installer.check(targetFor(Buffer.from('x'), { filename: 'app.bin' })),
    'INSTALL_FAILED',
    {
      installer: 'compose',
      ecu: 'ecu-1',
      cause: 'app.bin is named neither as a compose file (.yml, .yaml, .json) nor as a tar',
    },
  );
});

const NO_PODMAN = podmanProblem();

describe('compose with podman', { skip: NO_PODMAN ?? false }, () => {
  const temporary = temporaryDirectory('podman');
  const podman = new Podman(join(temporary.path, 'engine'));
  before(async () => {
    await podman.start();
    podman.makeArchives();
  });
  after(async () => {
    await podman.stop();
    temporary.remove();
  });

  const installerIn = (directory: string): ComposeInstaller =>
    new ComposeInstaller({
      kind: 'podman',
      engine: [podman.program],
      compose: ['podman-compose', '--podman-path', podman.program],
      project: 'otatest',
      path: join(directory, 'current'),
      limits: LIMITS,
      timeoutMs: 60_000,
      healthMs: 20_000,
    });

  const composeDevice = async (directory: string): Promise<InstallerFixture> => {
    podman.clear();
    const installer = installerIn(directory);
    const factory = targetFor(podman.archive('factory'), { filename: 'app-1.tar.gz' });
    const staged = join(directory, 'factory.tar.gz');
    writeFileSync(staged, podman.archive('factory'));
    await takeImage({ installer, target: factory }, staged);
    await installer.activate(factory);
    await installer.confirm(factory);
    return {
      installer,
      target: targetFor(podman.archive('update'), { filename: 'app-2.tar.gz' }),
      content: podman.archive('update'),
      running: () => podman.running() as Running,
      boot: () => undefined,
    };
  };
  installerContract('compose, images in the archive', composeDevice);

  test('behind the socket of an installer it is installed, confirmed, and taken back', async (t) => {
    const directory = temporaryDirectory('compose');
    const device = await behindSocket(directory.path, await composeDevice(directory.path));
    t.after(async () => {
      await device.close?.();
      directory.remove();
    });
    const { installer, target, content } = device;
    const running = (): Promise<Running> => Promise.resolve(device.running());
    const staged = join(directory.path, 'update.tar.gz');
    writeFileSync(staged, content);
    await installer.check(target);
    await takeImage({ installer, target }, staged);
    assert.equal(await running(), 'factory');
    await installer.activate(target);
    assert.equal(await running(), 'update');
    assert.equal(await installer.booted(target), true);
    await installer.confirm(target);
    await installer.rollBack(target);
    assert.equal(await running(), 'factory');
  });
});
