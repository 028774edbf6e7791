/**
 * What the Director signs for media (Uptane PURE-2), and the media themselves, as Torizon lays them out.
 *
 * A lockbox is for hardware and for no device in particular, so that one stick does for a whole fleet.
 * It is signed anew, with a higher version, when it changes, its keys do, or little of its time is left.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { Director } from './director.ts';
import { encryptionOf } from './encrypted-images.ts';
import { Refusal, reasonOf } from './failure.ts';
import type { ImageRepo } from './image-repo.ts';
import type { JsonMap } from './json/canonical-json.ts';
import { isUnsafeRole, type Image } from './metadata/image-content.ts';
import { expiryText, type RoleKeys } from './metadata/repository-keys.ts';
import { signEnvelope } from './signing.ts';
import type { Device, Encryption } from './state/devices.ts';
import { makeDirectory, readState, writeDurably, writeState } from './state/state-file.ts';

/** Media lie around: a year, as Torizon's. */
const VALIDITY_SECONDS = 365 * 86_400;
const RENEW_AT = 0.75;

const ONLINE = /^(?:\d+\.)?(?:root|targets|snapshot|timestamp)\.json$/u;

interface Signed {
  readonly version: number;
  readonly text: string;
  /** Of the keys that signed. */
  readonly keyIds: readonly string[];
  /** From when on it is signed anew, in milliseconds since the epoch. */
  readonly dueAt: number;
}

export interface Lockbox extends Signed {
  readonly name: string;
  readonly images: readonly string[];
  /** Of encrypted images: for one device alone. By the name of the image. */
  readonly encrypted: Readonly<Record<string, Encryption>>;
}

interface OfflineState {
  readonly lockboxes: readonly Lockbox[];
  readonly snapshot?: Signed;
}

export class OfflineUpdates {
  readonly #path: string;
  readonly #director: Director;
  readonly #images: ImageRepo;

  /** @param directory - of the Director's state */
  constructor(directory: string, director: Director, images: ImageRepo) {
    this.#path = join(directory, 'offline.json');
    this.#director = director;
    this.#images = images;
  }

  get lockboxes(): readonly Lockbox[] {
    return this.#state.lockboxes;
  }

  /** A file as the gateway serves it, for devices that ask. */
  served(file: string): string | undefined {
    // Of every poll, which must not read the state for it.
    if (ONLINE.test(file)) return undefined;
    const { lockboxes, snapshot } = this.#state;
    if (file === 'offline-snapshot.json') return snapshot?.text;
    return lockboxes.find(({ name }) => `${name}.json` === file)?.text;
  }

  /**
   * Signs a lockbox, or the next version of it.
   *
   * @param device - for which images are encrypted that were published so
   * @throws Refusal 400 `lockbox_name` · 404 `image_not_found` · 409 `no_device`, `no_key`
   */
  async sign(
    name: string,
    images: readonly string[],
    device: Device | undefined,
  ): Promise<Lockbox> {
    if (isUnsafeRole(name) || /^(?:\d+\.root|offline-snapshot)$/u.test(name)) {
      throw new Refusal(400, 'lockbox_name', '1 to 50 of a-z A-Z 0-9 _ - . and no role of its own');
    }
    const encrypted = await this.#encrypt(images, device);
    const state = this.#state;
    const before = state.lockboxes.find((one) => one.name === name);
    const lockbox = this.#signLockbox({ name, images, encrypted }, (before?.version ?? 0) + 1);
    const others = state.lockboxes.filter((one) => one.name !== name);
    this.#save(this.#listed({ ...state, lockboxes: [...others, lockbox] }));
    return lockbox;
  }

  /**
   * Writes a medium: images first and the list last, so that a device which looks for that finds all.
   *
   * @param names - of lockboxes; all, where none is named
   * @throws Refusal 404 `lockbox_not_found` · 409 `not_writable`
   */
  async write(directory: string, names: readonly string[]): Promise<readonly Lockbox[]> {
    const state = this.#current();
    const unknown = names.find((name) => !state.lockboxes.some((one) => one.name === name));
    if (unknown !== undefined || state.lockboxes.length === 0) {
      throw new Refusal(404, 'lockbox_not_found', `no lockbox ${unknown ?? ''}; sign it first`);
    }
    const lockboxes = state.lockboxes.filter(
      ({ name }) => names.length === 0 || names.includes(name),
    );
    try {
      await this.#writeImages(join(directory, 'images'), lockboxes);
      this.#writeMetadata(join(directory, 'metadata'), lockboxes, state.snapshot?.text ?? '');
    } catch (cause) {
      if (cause instanceof Refusal) throw cause;
      const what = `cannot write the medium at ${directory}: ${reasonOf(cause)}`;
      throw new Refusal(409, 'not_writable', what, { cause });
    }
    return lockboxes;
  }

  async #writeImages(directory: string, lockboxes: readonly Lockbox[]): Promise<void> {
    makeDirectory(directory, 0o755);
    for (const { images, encrypted } of lockboxes) {
      for (const name of images) {
        const sha256 = encrypted[name]?.sha256 ?? this.#image(name).sha256;
        const path = join(directory, sha256);
        rmSync(path, { force: true });
        await this.#images.files.copyTo(sha256, path);
      }
    }
  }

  #writeMetadata(directory: string, lockboxes: readonly Lockbox[], snapshot: string): void {
    const image = this.#images.issued(0).current;
    const put = (folder: string, files: Readonly<Record<string, string>>): void => {
      const path = join(directory, folder);
      makeDirectory(path, 0o755);
      for (const [name, text] of Object.entries(files)) {
        writeDurably(join(path, `${name}.json`), text, 0o644);
      }
    };
    for (const folder of ['image-repo', 'director']) forget(join(directory, folder));
    const { snapshot: imageSnapshot, targets, delegations } = image;
    const roles = { ...delegations, targets, snapshot: imageSnapshot };
    put('image-repo', { ...rootFiles(this.#images.trust.roots), ...roles });
    put('director', {
      ...rootFiles(this.#director.trust.roots),
      ...Object.fromEntries(lockboxes.map(({ name, text }) => [name, text])),
    });
    put('director', { 'offline-snapshot': snapshot });
  }

  async #encrypt(
    images: readonly string[],
    device: Device | undefined,
  ): Promise<Lockbox['encrypted']> {
    const secret = images.filter((name) => this.#image(name).encrypt === true);
    if (secret.length === 0) return {};
    if (device === undefined) {
      const what = `${secret.join(', ')} is encrypted for one device alone: name it`;
      throw new Refusal(409, 'no_device', what);
    }
    const wanted = secret.map((image) => ({ image, ecus: [] }));
    return Object.fromEntries(await this.#director.encrypt(device, wanted));
  }

  /** Everything signed by whom the root names now, for long enough. */
  #current(): OfflineState {
    const { 'offline-updates': updates, 'offline-snapshot': list } = this.#director.offlineKeys();
    const state = this.#state;
    const lockboxes = state.lockboxes.map((one) =>
      isGood(one, updates) ? one : this.#signLockbox(one, one.version + 1),
    );
    const isSame = lockboxes.every((one, at) => one === state.lockboxes[at]);
    if (isSame && state.snapshot !== undefined && isGood(state.snapshot, list)) return state;
    const renewed = this.#listed({ ...state, lockboxes });
    this.#save(renewed);
    return renewed;
  }

  #signLockbox(
    { name, images, encrypted }: Pick<Lockbox, 'name' | 'images' | 'encrypted'>,
    version: number,
  ): Lockbox {
    const targets = Object.fromEntries(
      images.map((image) => [image, entryOf(this.#image(image), encrypted[image])]),
    );
    const payload = { _type: 'Offline-Updates', targets };
    const keys = this.#director.offlineKeys()['offline-updates'];
    return { name, images, encrypted, ...signed(payload, version, keys) };
  }

  #listed({ lockboxes, snapshot }: OfflineState): OfflineState {
    const meta = Object.fromEntries(
      lockboxes.map(({ name, version, text }) => {
        const sha256 = createHash('sha256').update(text).digest('hex');
        return [`${name}.json`, { hashes: { sha256 }, length: Buffer.byteLength(text), version }];
      }),
    );
    const keys = this.#director.offlineKeys()['offline-snapshot'];
    const payload = { _type: 'Offline-Snapshot', meta };
    return { lockboxes, snapshot: signed(payload, (snapshot?.version ?? 0) + 1, keys) };
  }

  #image(name: string): Image {
    const image = this.#images.findImage(name);
    if (image !== undefined) return image;
    throw new Refusal(404, 'image_not_found', `no image ${name}; publish it first`);
  }

  get #state(): OfflineState {
    return (readState(this.#path) as OfflineState | undefined) ?? { lockboxes: [] };
  }

  #save(state: OfflineState): void {
    writeState(this.#path, state);
  }
}

function entryOf(image: Image, encryption: Encryption | undefined): JsonMap {
  const { hardwareIds, format: targetFormat, sha256, sha512, lengthBytes: length } = image;
  const releaseCounter = image.custom['releaseCounter'];
  return {
    custom: {
      hardwareIds,
      targetFormat,
      ...(typeof releaseCounter === 'number' ? { releaseCounter } : {}),
      ...(encryption === undefined ? {} : { encryption: encryptionOf(encryption) }),
    },
    hashes: sha512 === undefined ? { sha256 } : { sha256, sha512 },
    length,
  };
}

function signed(payload: JsonMap, version: number, { keys }: RoleKeys): Signed {
  const now = Date.now();
  const expires = expiryText(now, VALIDITY_SECONDS);
  return {
    version,
    text: signEnvelope({ ...payload, expires, version }, keys),
    keyIds: keys.map(({ id }) => id),
    dueAt: now + VALIDITY_SECONDS * 1000 * RENEW_AT,
  };
}

function isGood({ keyIds, dueAt }: Signed, { keys }: RoleKeys): boolean {
  return dueAt > Date.now() && keys.every(({ id }, at) => keyIds[at] === id);
}

function rootFiles(roots: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(roots.map((text, at) => [`${String(at + 1)}.root`, text]));
}

/** What another medium left here: a lockbox that is not listed any more would be refused with all. */
function forget(directory: string): void {
  if (!existsSync(directory)) return;
  for (const name of readdirSync(directory)) {
    if (name.endsWith('.json')) rmSync(join(directory, name));
  }
}
