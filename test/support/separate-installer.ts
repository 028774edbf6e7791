/** An installer behind its socket, served in this process, and two repositories that signed for it. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

import { serveSteps } from '../../agent/commands/installer/serve.ts';
import { Verdicts } from '../../agent/commands/installer/verdicts.ts';
import { openClock } from '../../agent/io/clock.ts';
import { SeparateInstaller } from '../../agent/io/installers/separate/client.ts';
import { InstallerLink, type MetadataSource } from '../../agent/io/installers/separate/link.ts';
import { Wire } from '../../agent/io/installers/separate/wire.ts';
import { StagingDirectory } from '../../agent/io/staging.ts';
import { Database } from '../../agent/io/store/database.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import type { Installer } from '../../agent/ports.ts';
import { UPTANE } from '../../agent/uptane/format.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import type { InstallerFixture } from '../contract/installer.contract.ts';
import { hashesOf, type Body } from './build-metadata.ts';
import { targetFor } from './targets.ts';
import { TestRepository } from './test-repository.ts';

const ECU = { serial: 'ecu-1', hardwareId: 'board' };

/** What both repositories serve; a test may change any of it. */
export class SignedRelease {
  readonly director = new TestRepository();
  readonly image = new TestRepository();

  /** Both sign these bytes for the one ECU that there is. */
  publish(content: Buffer, filename: string, releaseCounter?: number): TrustedTarget {
    const file = { length: content.byteLength, hashes: hashesOf(content) };
    const counter: Body = releaseCounter === undefined ? {} : { releaseCounter };
    const ecuIdentifiers = { [ECU.serial]: { hardwareId: ECU.hardwareId, ...counter } };
    this.director.targets = { [filename]: { ...file, custom: { ecuIdentifiers } } };
    const custom = { hardwareIds: [ECU.hardwareId], ...counter };
    this.image.targets[filename] = { ...file, custom };
    this.director.publish();
    this.image.publish();
    return targetFor(content, {
      filename,
      ...(releaseCounter === undefined ? {} : { releaseCounter }),
    });
  }

  readonly metadata: MetadataSource = (repo, file) => Promise.resolve(this[repo].served.get(file));

  /** As files, for a configuration. */
  writeRoots(directory: string): [string, string] {
    const [director, image] = [join(directory, 'director.json'), join(directory, 'image.json')];
    writeFileSync(director, this.director.file('1.root.json'));
    writeFileSync(image, this.image.file('1.root.json'));
    return [director, image];
  }
}

export interface Separated {
  readonly installer: SeparateInstaller;
  readonly link: InstallerLink;
  readonly socket: string;
  /** As when the installer's process ends. */
  hangUp(): void;
  close(): Promise<void>;
}

/** The same device, but its installer is behind a socket. */
export async function behindSocket(
  directory: string,
  fixture: InstallerFixture,
): Promise<InstallerFixture> {
  const release = new SignedRelease();
  const target = release.publish(fixture.content, fixture.target.filename);
  const device = await separated(directory, fixture.installer, release);
  const { installer } = device;
  const close = async (): Promise<void> => {
    await device.close();
    await fixture.close?.();
  };
  return { ...fixture, installer, target, close };
}

/** @param metadata - what the agent hands to the installer */
export async function separated(
  directory: string,
  own: Installer,
  release: SignedRelease,
  metadata: MetadataSource = release.metadata,
): Promise<Separated> {
  const database = await Database.open(join(directory, 'installer.db'));
  const store = new SqliteStore(database);
  const clock = openClock(await store.latestKnownTime());
  const separation = { socket: '', storage: directory, ecus: [ECU] };
  const roots = release.writeRoots(directory);
  const parts = {
    verdicts: new Verdicts(store, clock, {
      separation: { ...separation, roots },
      formats: { director: UPTANE, image: UPTANE },
      vehicleId: undefined,
    }),
    installers: { of: () => own },
    staging: new StagingDirectory(join(directory, 'installer-staging'), 0),
    boot: { reboot: () => Promise.resolve() },
  };
  const socket = join(directory, 'installer.sock');
  const open = new Set<Socket>();
  const server = createServer((connection) => {
    open.add(connection);
    const wire = new Wire(connection);
    void serveSteps(wire, parts).finally(() => {
      wire.close();
    });
  });
  server.listen(socket);
  await once(server, 'listening');
  const link = new InstallerLink(socket, metadata);
  return {
    installer: new SeparateInstaller(link, ECU.serial, own),
    link,
    socket,
    hangUp: () => {
      for (const one of open) one.destroy();
    },
    close: async () => {
      await closed(server, open);
      await database.close();
    },
  };
}

async function closed(server: Server, open: ReadonlySet<Socket>): Promise<void> {
  const ended = once(server, 'close');
  server.close();
  for (const socket of open) socket.destroy();
  await ended;
}
