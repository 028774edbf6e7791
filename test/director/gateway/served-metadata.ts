/** What each device is served now: the honest set of both repositories, and what faults make of it. */
import type { Director } from '../director.ts';
import { rowOf, type ActiveFault, type Stage } from '../faults.ts';
import { listedCipherText, type CipherText } from '../faults/encryption.ts';
import { forgeMetadata, versionOf, type Repo, type Served } from '../faults/forgery.ts';
import type { FaultSwitch } from '../faults/switch.ts';
import type { ImageRepo } from '../image-repo.ts';
import type { IssuedSet } from '../metadata/metadata-set.ts';
import type { RootOfTrust } from '../metadata/repository-keys.ts';
import type { DeviceStore } from '../state/devices.ts';
import type { SettingsFile } from '../state/settings.ts';

export interface ServedMetadataParts {
  readonly director: Director;
  readonly images: ImageRepo;
  readonly devices: DeviceStore;
  readonly faults: FaultSwitch;
  readonly settings: SettingsFile;
}

interface Honest {
  readonly repo: Repo;
  readonly scope: string;
  readonly stage: Stage;
  readonly trust: RootOfTrust;
  readonly issued: IssuedSet;
}

const DELEGATED_FILE = /^delegations\/(?<role>[^/]+)\.json$/u;
const METADATA_FILE =
  /^(?:(?<version>[1-9]\d{0,8})\.)?(?<role>root|targets|snapshot|timestamp)\.json$/u;

const CONSISTENT_FILE =
  /^(?:(?<version>[1-9]\d{0,8})\.)?(?<role>[a-zA-Z0-9_-][a-zA-Z0-9_.-]*)\.json$/u;

export class ServedMetadata {
  readonly #parts: ServedMetadataParts;
  /** RSA signatures are random: a forged set must stay the same from one request to the next. */
  readonly #forged = new Map<string, { readonly of: string; readonly served: Served }>();

  constructor(parts: ServedMetadataParts) {
    this.#parts = parts;
  }

  /** One file, by the name it is asked for under, or `undefined` when there is none. */
  file(repo: Repo, deviceId: string, name: string): string | undefined {
    const honest = repo === 'director' ? this.#director(deviceId) : this.#image();
    const served = this.#served(honest, deviceId);
    return honest.trust.dialect === 'tuf' ? consistent(served, name) : unversioned(served, name);
  }

  /** What stands in the place of an image for one device: as its Director's Targets say it now. */
  cipherText(deviceId: string, filename: string): CipherText | undefined {
    const { set } = this.#served(this.#director(deviceId), deviceId);
    return listedCipherText(set.targets, filename);
  }

  #director(deviceId: string): Honest {
    const { director, devices, faults } = this.#parts;
    const scope = `director/${deviceId}`;
    const floor = faults.floor(scope, 'director-metadata');
    const issued = director.issued(devices.meet(deviceId), floor);
    return { repo: 'director', scope, stage: 'director-metadata', trust: director.trust, issued };
  }

  #image(): Honest {
    const { images, faults } = this.#parts;
    const issued = images.issued(faults.floor('image', 'image-metadata'));
    return { repo: 'image', scope: 'image', stage: 'image-metadata', trust: images.trust, issued };
  }

  #served(honest: Honest, deviceId: string): Served {
    const { trust, issued } = honest;
    const plain = { roots: trust.roots, set: issued.current };
    const active = this.#parts.faults.at(honest.stage, deviceId);
    if (active.length === 0) return plain;
    const key = `${honest.repo}/${deviceId}`;
    const of = JSON.stringify([active, trust.roots.length, issued.current.timestamp]);
    const known = this.#forged.get(key);
    if (known?.of === of) return known.served;
    const served = this.#forge(honest, plain, active, deviceId);
    this.#forged.set(key, { of, served });
    return served;
  }

  #forge(honest: Honest, plain: Served, active: readonly ActiveFault[], deviceId: string): Served {
    const { files } = this.#parts.images;
    const recipient = this.#parts.devices.find(deviceId)?.secretsKey;
    const { keyType } = this.#parts.settings.current;
    const served = active.reduce(
      (set, { name, parameters }) =>
        forgeMetadata(name, set, { ...honest, keyType, parameters, files, recipient }),
      plain,
    );
    if (active.some(({ name }) => rowOf(name).raisesVersions === true)) {
      const { targets, snapshot, timestamp } = served.set;
      const versions = [targets, snapshot, timestamp].map(versionOf);
      this.#parts.faults.sent(honest.scope, Math.max(...versions));
    }
    return served;
  }
}

function unversioned(served: Served, name: string): string | undefined {
  return delegated(served, name) ?? topLevel(served, name);
}

/** With consistent snapshots everything but the timestamp is asked for by version. */
function consistent(served: Served, name: string): string | undefined {
  const { version, role = '' } = CONSISTENT_FILE.exec(name)?.groups ?? {};
  if (role === 'root' || (role === 'timestamp' && version === undefined)) {
    return topLevel(served, name);
  }
  const { set } = served;
  const found =
    role === 'snapshot' || role === 'targets'
      ? set[role]
      : Object.entries(set.delegations).find(([delegate]) => delegate === role)?.[1];
  return found !== undefined && Number(version) === versionOf(found) ? found : undefined;
}

function delegated({ set }: Served, name: string): string | undefined {
  const role = DELEGATED_FILE.exec(name)?.groups?.['role'] ?? '';
  return Object.hasOwn(set.delegations, role) ? set.delegations[role] : undefined;
}

function topLevel({ roots, set }: Served, name: string): string | undefined {
  const { version, role } = METADATA_FILE.exec(name)?.groups ?? {};
  if (role === 'root') return roots.at(version === undefined ? -1 : Number(version) - 1);
  if (version !== undefined) return undefined;
  const isRole = role === 'targets' || role === 'snapshot' || role === 'timestamp';
  return isRole ? set[role] : undefined;
}
