/** Everything that lies in the state directory, opened and wired together. */
import { join } from 'node:path';

import { Director } from './director.ts';
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
import { SqlStore } from './state/sql-store.ts';
import type { Store } from './state/store.ts';
import { SettingsFile, type FirstSettings } from './state/settings.ts';
import { TimeServer } from './time-server.ts';

export interface World {
  readonly directory: string;
  readonly settings: SettingsFile;
  readonly store: Store;
  readonly images: ImageRepo;
  readonly director: Director;
  readonly faults: FaultSwitch;
  readonly metadata: ServedMetadata;
  readonly time: TimeServer;
  readonly traffic: Traffic;
  readonly secrets: EnrolmentSecrets;
  readonly enrolment: EnrolmentSettingsFile;
  readonly deviceCa: DeviceCa;
  readonly serverCa: Identity;
  readonly server: Identity;
}

/** Opens a state directory, making whatever is not there yet. */
export async function openWorld(
  directory: string,
  first: FirstSettings,
  { hosts, database }: { readonly hosts: readonly string[]; readonly database: string | undefined },
): Promise<World> {
  const serverCa = identityAt(directory, 'server-ca');
  const server = identityAt(directory, 'server');
  const deviceCa = new DeviceCa(directory);
  await createAuthority(serverCa, 'ota-agent test server CA');
  await createAuthority(deviceCa.identity, 'ota-agent test device CA', 1);
  await createServerIdentity(server, serverCa, hosts);
  const enrolment = new EnrolmentSettingsFile(join(directory, 'enrolment.json'));
  await deviceCa.issueBelow(enrolment.current.issuingCa);
  const settings = new SettingsFile(directory, first);
  const store = await SqlStore.open(database ?? join(directory, 'store.sqlite'));
  const files = new ImageFiles(join(directory, 'images'));
  const images = new ImageRepo(join(directory, 'image'), files, settings);
  const director = new Director({
    directory: join(directory, 'director'),
    store,
    images,
    settings,
  });
  const faults = new FaultSwitch(join(directory, 'faults.json'));
  return {
    directory,
    settings,
    store,
    images,
    director,
    faults,
    metadata: new ServedMetadata({ director, images, faults, settings }),
    time: new TimeServer(directory, first.keyType, faults),
    traffic: new Traffic(),
    enrolment,
    secrets: new EnrolmentSecrets(directory),
    deviceCa,
    serverCa,
    server,
  };
}
