/**
 * The Director: who gets which image, said in metadata of its own for every device.
 *
 * Keys and root chain are in `director/repository.json`; what was signed for a device is in the store,
 * so that an idle device is served the same bytes again and again, by whichever server.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

import type { JsonMap } from './json/canonical-json.ts';
import { Refusal } from './failure.ts';
import { encryptImage, encryptionOf } from './encrypted-images.ts';
import { writeRoots, type ImageRepo } from './image-repo.ts';
import type { Image } from './metadata/image-content.ts';
import {
  issueSet,
  levelDue,
  type Content,
  type IssuedSet,
  type Issuer,
  type Level,
} from './metadata/metadata-set.ts';
import {
  createRootOfTrust,
  expiryText,
  rotateKeys,
  withOfflineRoles,
  type OfflineKeys,
  type RootOfTrust,
  type Rotation,
} from './metadata/repository-keys.ts';
import type {
  AssignedTarget,
  Assignment,
  Device,
  Encryption,
  RegisteredEcu,
} from './state/devices.ts';
import type { HeldDevice, Store } from './state/store.ts';
import type { SettingsFile } from './state/settings.ts';
import { makeDirectory, readState, writeState, type Access } from './state/state-file.ts';

/** One image for some ECUs of a device; for every ECU of fitting hardware when none is named. */
export interface WantedTarget {
  readonly image: string;
  readonly ecus: readonly string[];
}

/** By the name of the image. */
export type EncryptedImages = ReadonlyMap<string, Encryption>;

export interface DirectorParts {
  readonly directory: string;
  readonly store: Store;
  readonly images: ImageRepo;
  readonly settings: SettingsFile;
  readonly access: Access;
}

export class Director {
  readonly #parts: DirectorParts;
  #trust: RootOfTrust;

  constructor(parts: DirectorParts) {
    this.#parts = parts;
    if (parts.access === 'write') makeDirectory(parts.directory, 0o755);
    const { keyType, validitySeconds } = parts.settings.current;
    const stored = readState(this.#path()) as RootOfTrust | undefined;
    this.#trust =
      stored ?? createRootOfTrust(keyType, expiryText(Date.now(), validitySeconds.root));
    if (parts.access === 'write') this.#save(this.#trust);
  }

  /** Another process has changed it. */
  reload(): void {
    this.#trust = readState(this.#path()) as RootOfTrust;
  }

  get trust(): RootOfTrust {
    return this.#trust;
  }

  /**
   * What is signed for a device, signed anew first where it is due.
   *
   * @param floor - highest version that a fault has sent to it; honest versions stay above it
   */
  async issued(deviceId: string, floor: number): Promise<IssuedSet> {
    const { store } = this.#parts;
    const [device, before] = await Promise.all([store.find(deviceId), store.issued(deviceId)]);
    if (
      device !== undefined &&
      before !== undefined &&
      this.#due(device, before, floor) === undefined
    )
      return before;
    return store.hold(deviceId, async (held) => {
      const now = await held.issued();
      const due = now === undefined ? 'targets' : this.#due(held.device, now, floor);
      return now !== undefined && due === undefined
        ? now
        : this.#issue(held, now, this.issuer(floor), due ?? 'targets');
    });
  }

  async refresh(deviceId: string, level: Level, floor: number): Promise<IssuedSet> {
    return this.#parts.store.hold(deviceId, async (held) =>
      this.#issue(held, await held.issued(), this.issuer(floor), level),
    );
  }

  issuer(floor: number): Issuer {
    const { validitySeconds: validity } = this.#parts.settings.current;
    const { keys, dialect } = this.#trust;
    return { keys, dialect, validity, nowMs: Date.now(), floor };
  }

  rotate(rotation: Rotation): void {
    const expires = expiryText(Date.now(), this.#parts.settings.current.validitySeconds.root);
    this.#save(rotateKeys(this.#trust, rotation, expires));
  }

  /** Who signs for media; the root names them from the first time on that this is asked. */
  offlineKeys(): OfflineKeys {
    const { keyType, validitySeconds } = this.#parts.settings.current;
    const expires = expiryText(Date.now(), validitySeconds.root);
    const trust = withOfflineRoles(this.#trust, keyType, expires);
    if (trust.roots.length > this.#trust.roots.length) this.#save(trust);
    return trust.offline;
  }

  /**
   * Encrypts for a device what has to be before it is assigned; it takes as long as images are large.
   *
   * @throws Refusal 409 `no_key`, and as {@link assign}: nothing is encrypted in vain
   */
  async encrypt(device: Device, wanted: readonly WantedTarget[]): Promise<EncryptedImages> {
    const encrypted = new Map<string, Encryption>();
    for (const { filename } of this.#targets(device, wanted)) {
      const image = this.#parts.images.findImage(filename);
      if (image?.encrypt !== true || encrypted.has(filename)) continue;
      if (device.secretsKey === undefined) {
        throw new Refusal(409, 'no_key', `${device.id} has registered no key to encrypt to`);
      }
      const recipient = { id: device.id, key: device.secretsKey };
      encrypted.set(filename, await encryptImage(image, recipient, this.#parts.images.files));
    }
    return encrypted;
  }

  /**
   * Decides what a device shall run. It replaces what was decided before.
   *
   * @throws Refusal 404 `image_not_found`, `ecu_not_found` · 409 `no_ecus`, `hardware_id_mismatch`,
   *   `ecu_repeated`
   */
  async assign(
    held: HeldDevice,
    wanted: readonly WantedTarget[],
    encrypted: EncryptedImages,
  ): Promise<Assignment> {
    const { device } = held;
    const assignment: Assignment = {
      correlationId: `urn:here-ota:mtu:${randomUUID()}`,
      createdAt: new Date().toISOString(),
      targets: this.#targets(device, wanted).map((target) => {
        const encryption = encrypted.get(target.filename);
        return encryption === undefined ? target : { ...target, encryption };
      }),
      outcome: 'pending',
    };
    await held.save({ ...device, assignment });
    return assignment;
  }

  /** What a device would have to install of one image, on all ECUs that it is for. */
  targetFor(device: Device, image: string): AssignedTarget {
    return this.#target(device, { image, ecus: [] });
  }

  /** The device is told to install nothing. */
  async cancel(held: HeldDevice): Promise<void> {
    const { assignment, ...rest } = held.device;
    if (assignment !== undefined) await held.save(rest);
  }

  #targets(device: Device, wanted: readonly WantedTarget[]): readonly AssignedTarget[] {
    if (device.ecus.length === 0) {
      throw new Refusal(
        409,
        'no_ecus',
        `${device.id} has not registered its ECUs; let it run once first`,
      );
    }
    const targets = wanted.map((target) => this.#target(device, target));
    refuseRepeatedEcu(targets);
    return targets;
  }

  #target(device: Device, wanted: WantedTarget): AssignedTarget {
    const image = this.#parts.images.findImage(wanted.image);
    if (image === undefined) {
      throw new Refusal(404, 'image_not_found', `no image ${wanted.image}; publish it first`);
    }
    const ecus =
      wanted.ecus.length === 0 ? fitting(device, image) : named(device, image, wanted.ecus);
    const counter = image.custom['releaseCounter'];
    return {
      filename: image.filename,
      lengthBytes: image.lengthBytes,
      sha256: image.sha256,
      ...(image.sha512 === undefined ? {} : { sha512: image.sha512 }),
      format: image.format,
      ...(typeof counter === 'number' ? { releaseCounter: counter } : {}),
      ecus: Object.fromEntries(ecus.map((ecu) => [ecu.serial, ecu.hardwareId])),
    };
  }

  #due(device: Device, issued: IssuedSet, floor: number): Level | undefined {
    return levelDue(issued, this.#contentFor(device), this.issuer(floor));
  }

  async #issue(
    held: HeldDevice,
    before: IssuedSet | undefined,
    issuer: Issuer,
    from: Level,
  ): Promise<IssuedSet> {
    const issued = issueSet(before, this.#contentFor(held.device), issuer, from);
    await held.saveIssued(issued);
    return issued;
  }

  #contentFor(device: Device): Content {
    const { assignment } = device;
    // Always, not only when there are no images: metadata of one device cannot be replayed to another.
    const custom = {
      ...(assignment === undefined ? {} : { correlationId: assignment.correlationId }),
      vehicleId: device.id,
    };
    const targets = (assignment?.targets ?? []).map((target) => [target.filename, entryOf(target)]);
    return {
      targets: { custom, targets: Object.fromEntries(targets) as JsonMap },
      delegated: [],
      rootVersion: this.#trust.roots.length,
    };
  }

  #save(trust: RootOfTrust): void {
    writeState(this.#path(), trust);
    this.#trust = trust;
    writeRoots(this.#parts.directory, trust);
  }

  #path(): string {
    return join(this.#parts.directory, 'repository.json');
  }
}

function entryOf(target: AssignedTarget): JsonMap {
  const { releaseCounter: counter } = target;
  const ecus = Object.entries(target.ecus).map(([serial, hardwareId]) => [
    serial,
    counter === undefined ? { hardwareId } : { hardwareId, releaseCounter: counter },
  ]);
  return {
    custom: {
      ecuIdentifiers: Object.fromEntries(ecus) as JsonMap,
      targetFormat: target.format,
      ...(target.encryption === undefined ? {} : { encryption: encryptionOf(target.encryption) }),
    },
    hashes:
      target.sha512 === undefined
        ? { sha256: target.sha256 }
        : { sha256: target.sha256, sha512: target.sha512 },
    length: target.lengthBytes,
  };
}

function fitting(device: Device, image: Image): readonly RegisteredEcu[] {
  const ecus = device.ecus.filter((ecu) => image.hardwareIds.includes(ecu.hardwareId));
  if (ecus.length > 0) return ecus;
  const has = device.ecus.map((ecu) => ecu.hardwareId).join(', ');
  throw new Refusal(
    409,
    'hardware_id_mismatch',
    `${image.filename} is for ${image.hardwareIds.join(', ')}; ${device.id} has ${has}`,
  );
}

function named(device: Device, image: Image, serials: readonly string[]): readonly RegisteredEcu[] {
  return serials.map((serial) => {
    const ecu = device.ecus.find((one) => one.serial === serial);
    if (ecu === undefined) {
      const known = device.ecus.map((one) => one.serial).join(', ');
      throw new Refusal(404, 'ecu_not_found', `${device.id} has no ECU ${serial}; it has ${known}`);
    }
    if (image.hardwareIds.includes(ecu.hardwareId)) return ecu;
    throw new Refusal(
      409,
      'hardware_id_mismatch',
      `${image.filename} is for ${image.hardwareIds.join(', ')}; ECU ${serial} is ${ecu.hardwareId}`,
    );
  });
}

function refuseRepeatedEcu(targets: readonly AssignedTarget[]): void {
  const serials = targets.flatMap((target) => Object.keys(target.ecus));
  const repeated = serials.find((serial, at) => serials.indexOf(serial) !== at);
  if (repeated !== undefined) {
    throw new Refusal(409, 'ecu_repeated', `ECU ${repeated} would get two images`);
  }
}
