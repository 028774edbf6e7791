/** Everything that lies in the state directory, opened and wired together. */
import { join } from 'node:path';

import { Director } from './director.ts';
import { OfflineUpdates } from './offline.ts';
import { EnrolmentSecrets } from './enrolment/secrets.ts';
import { EnrolmentSettingsFile } from './enrolment/settings.ts';
import { FaultSwitch } from './faults/switch.ts';
import { ServedMetadata } from './gateway/served-metadata.ts';
import { Traffic } from './gateway/traffic.ts';
import { ImageFiles } from './state/image-files.ts';
import { ImageRepo } from './image-repo.ts';
import {
  createAuthority,
  createServerIdentity,
  identityAt,
  type Identity,
} from './pki/authority.ts';
import { DeviceCa } from './pki/device-ca.ts';
import { ObjectStore, type ObjectStoreSettings } from './state/object-store.ts';
import { SqlStore } from './state/sql-store.ts';
import type { Store } from './state/store.ts';
import { SettingsFile, type FirstSettings } from './state/settings.ts';
import { WatchedFiles, type Access } from './state/state-file.ts';
import { EncryptAhead } from './rollouts/encrypt-ahead.ts';
import { TimeServer } from './time-server.ts';

export interface World {
  readonly directory: string;
  readonly settings: SettingsFile;
  readonly store: Store;
  readonly images: ImageRepo;
  readonly director: Director;
  /** Encrypts what rollouts are about to give to devices. */
  readonly ahead: EncryptAhead;
  /** What is signed for media. */
  readonly offline: OfflineUpdates;
  readonly faults: FaultSwitch;
  readonly metadata: ServedMetadata;
  readonly time: TimeServer;
  readonly traffic: Traffic;
  readonly secrets: EnrolmentSecrets;
  readonly enrolment: EnrolmentSettingsFile;
  readonly deviceCa: DeviceCa;
  readonly serverCa: Identity;
  readonly server: Identity;
  /** Takes over what another process has written. @returns whether there was anything */
  readonly follow: () => boolean;
}

/** What another process may replace under a server that has joined it. */
const FOLLOWED = [
  'settings.json',
  'certificates.json',
  'faults.json',
  'director/repository.json',
  'image/repository.json',
];

/** What is not in the state directory. */
interface OutsideParts {
  readonly hosts: readonly string[];
  readonly database: string | undefined;
  readonly objectStore: ObjectStoreSettings | undefined;
}

/**
 * Opens a state directory, making whatever is not there yet.
 *
 * @param access - `read`: another process has it, and writes the files
 */
export async function openWorld(
  directory: string,
  access: Access,
  first: FirstSettings,
  { hosts, database, objectStore }: OutsideParts,
): Promise<World> {
  const serverCa = identityAt(directory, 'server-ca');
  const server = identityAt(directory, 'server');
  const deviceCa = new DeviceCa(directory);
  if (access === 'write') {
    await createAuthority(serverCa, 'ota-agent test server CA');
    await createAuthority(deviceCa.identity, 'ota-agent test device CA', 1);
    await createServerIdentity(server, serverCa, hosts);
  }
  const enrolment = new EnrolmentSettingsFile(join(directory, 'enrolment.json'));
  await deviceCa.issueBelow(enrolment.current.issuingCa);
  const settings = new SettingsFile(directory, first);
  const store = await SqlStore.open(database ?? join(directory, 'store.sqlite'));
  const objects = objectStore === undefined ? undefined : new ObjectStore(objectStore);
  await objects?.verify();
  const files = new ImageFiles(join(directory, 'images'), access, objects);
  const images = new ImageRepo(join(directory, 'image'), files, settings, access);
  const director = new Director({
    directory: join(directory, 'director'),
    store,
    images,
    settings,
    access,
  });
  const offline = new OfflineUpdates(join(directory, 'director'), director, images);
  const faults = new FaultSwitch(join(directory, 'faults.json'), access);
  const watched = new WatchedFiles(FOLLOWED.map((file) => join(directory, file)));
  watched.haveChanged();
  return {
    directory,
    settings,
    store,
    images,
    director,
    ahead: new EncryptAhead({ store, director, images }),
    offline,
    faults,
    metadata: new ServedMetadata({ director, offline, store, images, faults, settings }),
    time: new TimeServer(directory, first.keyType, faults),
    traffic: new Traffic(),
    enrolment,
    secrets: new EnrolmentSecrets(directory),
    deviceCa,
    serverCa,
    server,
    follow: () => {
      if (access === 'write' || !watched.haveChanged()) return false;
      for (const state of [settings, deviceCa, faults, director, images]) state.reload();
      return true;
    },
  };
}
