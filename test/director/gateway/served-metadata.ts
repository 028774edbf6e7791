/** What each device is served now: the honest set of both repositories, and what faults make of it. */
import type { Director } from '../director.ts';
import { rowOf, type ActiveFault } from '../faults.ts';
import { listedCipherText, type CipherText } from '../faults/encryption.ts';
import { forgeMetadata, versionOf, type Repo, type Served } from '../faults/forgery.ts';
import type { Stage } from '../faults/row.ts';
import type { FaultSwitch } from '../faults/switch.ts';
import type { OfflineUpdates } from '../offline.ts';
import type { ImageRepo } from '../image-repo.ts';
import type { IssuedSet } from '../metadata/metadata-set.ts';
import type { RootOfTrust } from '../metadata/repository-keys.ts';
import type { SettingsFile } from '../state/settings.ts';
import type { Store } from '../state/store.ts';
import type { SecretsKey } from './encrypt.ts';
import { tufFile, uptaneFile } from './file-names.ts';

export interface ServedMetadataParts {
  readonly director: Director;
  readonly offline: OfflineUpdates;
  readonly store: Pick<Store, 'find'>;
  readonly images: ImageRepo;
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

export class ServedMetadata {
  readonly #parts: ServedMetadataParts;
  /** RSA signatures are random: a forged set must stay the same from one request to the next. */
  readonly #forged = new Map<string, { readonly of: string; readonly served: Served }>();

  constructor(parts: ServedMetadataParts) {
    this.#parts = parts;
  }

  /** One file, by the name it is asked for under, or `undefined` when there is none. */
  async file(repo: Repo, deviceId: string, name: string): Promise<string | undefined> {
    const forMedia = repo === 'director' ? this.#parts.offline.served(name) : undefined;
    if (forMedia !== undefined) return forMedia;
    const honest = repo === 'director' ? await this.#director(deviceId) : this.#image();
    const served = await this.#served(honest, deviceId);
    if (!this.isConsistent(repo)) return uptaneFile(served, name);
    const { previous } = honest.issued;
    // A client that has the timestamp from before finds what that one lists.
    const older = previous === undefined ? undefined : { roots: served.roots, set: previous };
    return tufFile(served, name) ?? (older && tufFile(older, name));
  }

  /** Whether a repository serves consistent snapshots, as TUF has them. */
  isConsistent(repo: Repo): boolean {
    const { director, images } = this.#parts;
    return (repo === 'director' ? director : images).trust.dialect === 'tuf';
  }

  /** What stands in the place of an image for one device: as its Director's Targets say it now. */
  async cipherText(deviceId: string, filename: string): Promise<CipherText | undefined> {
    const { set } = await this.#served(await this.#director(deviceId), deviceId);
    return listedCipherText(set.targets, filename);
  }

  async #director(deviceId: string): Promise<Honest> {
    const { director, faults } = this.#parts;
    const scope = `director/${deviceId}`;
    const floor = faults.floor(scope, 'director-metadata');
    const issued = await director.issued(deviceId, floor);
    return { repo: 'director', scope, stage: 'director-metadata', trust: director.trust, issued };
  }

  #image(): Honest {
    const { images, faults } = this.#parts;
    const issued = images.issued(faults.floor('image', 'image-metadata'));
    return { repo: 'image', scope: 'image', stage: 'image-metadata', trust: images.trust, issued };
  }

  async #served(honest: Honest, deviceId: string): Promise<Served> {
    const { trust, issued } = honest;
    const plain = { roots: trust.roots, set: issued.current };
    const active = this.#parts.faults.at(honest.stage, deviceId);
    if (active.length === 0) return plain;
    const recipient = (await this.#parts.store.find(deviceId))?.secretsKey;
    const key = `${honest.repo}/${deviceId}`;
    const of = JSON.stringify([active, trust.roots.length, issued.current.timestamp]);
    const known = this.#forged.get(key);
    if (known?.of === of) return known.served;
    const served = this.#forge(honest, plain, active, recipient);
    this.#forged.set(key, { of, served });
    return served;
  }

  #forge(
    honest: Honest,
    plain: Served,
    active: readonly ActiveFault[],
    recipient: SecretsKey | undefined,
  ): Served {
    const { files } = this.#parts.images;
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
