/** Containers: podman runs while the device does, and starts at boot what ran before. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ComposeInstaller } from '../../agent/io/installers/compose/compose.ts';
import { Podman, podmanProblem } from '../support/podman.ts';
import { targetFor } from '../support/targets.ts';
import { PRIMARY } from '../support/uptane-world.ts';
import type { Running, Scenario } from './scenario.ts';

const RUNNING: Readonly<Record<string, Running>> = { factory: 'old', update: 'new', '': 'nothing' };
const LIMITS = { maxBytes: 64 * 1024 * 1024, maxEntries: 100, allowSetuid: false };

const engineIn = (directory: string): Podman => new Podman(join(directory, 'engine'));

function installerIn(directory: string): ComposeInstaller {
  const { program } = engineIn(directory);
  return new ComposeInstaller({
    kind: 'podman',
    engine: [program],
    compose: ['podman-compose', '--podman-path', program],
    project: 'device',
    path: join(directory, 'current'),
    limits: LIMITS,
    timeoutMs: 60_000,
    healthMs: 20_000,
  });
}

async function installFactory(directory: string, archive: Buffer): Promise<void> {
  const installer = installerIn(directory);
  const target = targetFor(archive, { filename: 'app-1.tar.gz' });
  const staged = join(directory, 'factory.tar.gz');
  writeFileSync(staged, archive);
  await installer.write(target, staged, () => undefined);
  await installer.activate(target);
  await installer.confirm(target);
}

export const compose: Scenario = {
  ecus: [PRIMARY],
  problem: podmanProblem,
  prepare: async (directory) => {
    mkdirSync(directory, { recursive: true });
    const engine = engineIn(directory);
    await engine.start();
    try {
      engine.makeArchives(['restart: always']);
      await installFactory(directory, engine.archive('factory'));
    } finally {
      await engine.stop();
    }
    return [{ ecu: PRIMARY, content: engine.archive('update'), filename: 'app-2.tar.gz' }];
  },
  start: async (directory) => {
    const engine = engineIn(directory);
    await engine.start();
    engine.startAgain();
    return { env: {}, stop: () => engine.stop() };
  },
  open: installerIn,
  boot: () => undefined,
  running: (directory) => RUNNING[engineIn(directory).running()] ?? 'neither',
};
