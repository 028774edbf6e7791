/**
 * The Director: who gets which image, said in metadata of its own for every device.
 *
 * Keys and root chain are in `director/repository.json`; what was signed for a device lies with that
 * device, in `director.json`, so that an idle device is served the same bytes again and again.
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
  type RootOfTrust,
  type Rotation,
} from './metadata/repository-keys.ts';
import type {
  AssignedTarget,
  Assignment,
  Device,
  DeviceStore,
  RegisteredEcu,
} from './state/devices.ts';
import type { SettingsFile } from './state/settings.ts';
import { makeDirectory, readState, writeState } from './state/state-file.ts';

/** One image for some ECUs of a device; for every ECU of fitting hardware when none is named. */
export interface WantedTarget {
  readonly image: string;
  readonly ecus: readonly string[];
}

export interface DirectorParts {
  readonly directory: string;
  readonly devices: DeviceStore;
  readonly images: ImageRepo;
  readonly settings: SettingsFile;
}

export class Director {
  readonly #parts: DirectorParts;
  readonly #issued = new Map<string, IssuedSet>();
  #trust: RootOfTrust;

  constructor(parts: DirectorParts) {
    this.#parts = parts;
    makeDirectory(parts.directory, 0o755);
    const { keyType, validitySeconds } = parts.settings.current;
    const stored = readState(this.#path()) as RootOfTrust | undefined;
    this.#trust =
      stored ?? createRootOfTrust(keyType, expiryText(Date.now(), validitySeconds.root));
    this.#save(this.#trust);
  }

  get trust(): RootOfTrust {
    return this.#trust;
  }

  /**
   * What is signed for a device, signed anew first where it is due.
   *
   * @param floor - highest version that a fault has sent to it; honest versions stay above it
   */
  issued(device: Device, floor: number): IssuedSet {
    const content = this.#contentFor(device);
    const issuer = this.issuer(floor);
    const before = this.peek(device.id);
    const from = before === undefined ? 'targets' : levelDue(before, content, issuer);
    if (before !== undefined && from === undefined) return before;
    return this.#issue(device, issuer, from ?? 'targets');
  }

  /** What was last signed for a device, as it is. */
  peek(deviceId: string): IssuedSet | undefined {
    const known = this.#issued.get(deviceId);
    if (known !== undefined) return known;
    const stored = readState(this.#issuedPath(deviceId)) as IssuedSet | undefined;
    if (stored !== undefined) this.#issued.set(deviceId, stored);
    return stored;
  }

  refresh(device: Device, level: Level, floor: number): IssuedSet {
    return this.#issue(device, this.issuer(floor), level);
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

  /**
   * Decides what a device shall run. It replaces what was decided before.
   *
   * @throws Refusal 404 `image_not_found`, `ecu_not_found` · 409 `no_ecus`, `hardware_id_mismatch`,
   *   `ecu_repeated`, `no_key`
   */
  async assign(device: Device, wanted: readonly WantedTarget[]): Promise<Assignment> {
    if (device.ecus.length === 0) {
      throw new Refusal(
        409,
        'no_ecus',
        `${device.id} has not registered its ECUs; let it run once first`,
      );
    }
    const assignment: Assignment = {
      correlationId: `urn:here-ota:mtu:${randomUUID()}`,
      createdAt: new Date().toISOString(),
      targets: await Promise.all(wanted.map((target) => this.#encrypted(device, target))),
      outcome: 'pending',
    };
    refuseRepeatedEcu(assignment.targets);
    // Met again: it may have registered something while its images were encrypted.
    this.#parts.devices.save({ ...this.#parts.devices.meet(device.id), assignment });
    return assignment;
  }

  /** The device is told to install nothing. */
  cancel(device: Device): void {
    const { assignment, ...rest } = device;
    if (assignment !== undefined) this.#parts.devices.save(rest);
  }

  async #encrypted(device: Device, wanted: WantedTarget): Promise<AssignedTarget> {
    const target = this.#target(device, wanted);
    const { files } = this.#parts.images;
    const image = this.#parts.images.findImage(wanted.image);
    if (image?.encrypt !== true) return target;
    if (device.secretsKey === undefined) {
      throw new Refusal(409, 'no_key', `${device.id} has registered no key to encrypt to`);
    }
    const encryption = await encryptImage(image, { id: device.id, key: device.secretsKey }, files);
    return { ...target, encryption };
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

  #issue(device: Device, issuer: Issuer, from: Level): IssuedSet {
    const content = this.#contentFor(device);
    const issued = issueSet(this.peek(device.id), content, issuer, from);
    writeState(this.#issuedPath(device.id), issued);
    this.#issued.set(device.id, issued);
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

  #issuedPath(deviceId: string): string {
    return join(this.#parts.devices.directoryOf(deviceId), 'director.json');
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
