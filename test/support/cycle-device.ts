/** A device for whole cycles in one process. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { openBrake } from '../../agent/cycle/brake.ts';
import { runCycle, type Outcome } from '../../agent/cycle/cycle.ts';
import { runOfflineCycle } from '../../agent/cycle/offline.ts';
import { OtaError } from '../../agent/errors.ts';
import { openClock } from '../../agent/io/clock.ts';
import { installersOf } from '../../agent/io/installers/by-ecu.ts';
import { openMedia } from '../../agent/io/medium.ts';
import { StagingDirectory } from '../../agent/io/staging.ts';
import { Database } from '../../agent/io/store/database.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import type { Installer, LocalPorts, Ports, TimeServer } from '../../agent/ports.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import { UPTANE } from '../../agent/uptane/format.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { openAbSlot } from './ab-slot.ts';
import { bootBoard, type Board } from './boot-loader.ts';
import { stagedOf } from './staged-installer.ts';
import { temporaryDirectory } from './temporary.ts';
import { NOW, PRIMARY, World } from './uptane-world.ts';

/** What a test may break, and what the outside world saw. */
interface Outside {
  gateway:
    | 'up'
    | 'down'
    | 'refuses-manifests'
    | { readonly answers: number; readonly retryAfterSeconds: number };
  image: (offset: number, target: TrustedTarget) => AsyncIterable<Uint8Array>;
  /** What the checks of health find wrong. */
  sick: string | undefined;
  uptimeMs: number;
  /** The system's clock. */
  wallMs: number;
  /** What the gateway says in `Date`. */
  date: Instant | undefined;
  timeServer: TimeServer | undefined;
  /** A metadata file that comes too slowly. */
  slowFile: string | undefined;
  readonly manifests: string[];
  readonly sleptMs: number[];
  /** Images whose bytes were wrong. */
  readonly distrusted: string[];
}

/** Real storage, staging and slots; repositories, Director and time are in memory. */
export class TestDevice {
  readonly world: World;
  readonly brake = openBrake();
  readonly directory = temporaryDirectory('cycle');
  readonly board: Board;
  readonly outside: Outside;
  readonly #slots: { a: string; b: string };
  #database: Database | undefined;
  #copies = 0;

  readonly #ecus: readonly Ecu[];
  readonly #components: ReadonlyMap<string, Installer>;

  /** @param components - ECUs beside the Primary, and what installs on them in a directory */
  constructor(components: readonly (readonly [Ecu, (directory: string) => Installer])[] = []) {
    this.#ecus = [PRIMARY, ...components.map(([ecu]) => ecu)];
    this.world = new World(this.#ecus);
    this.#components = new Map(
      components.map(([{ serial }, open]) => {
        const path = join(this.directory.path, serial);
        mkdirSync(path);
        return [serial, open(path)];
      }),
    );
    const at = (name: string): string => join(this.directory.path, name);
    this.board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
    this.#slots = { a: at('a'), b: at('b') };
    for (const slot of Object.values(this.#slots)) writeFileSync(slot, 'factory');
    this.outside = {
      gateway: 'up',
      image: (offset, { filename }) => bytes(filename.slice(offset)),
      sick: undefined,
      uptimeMs: 0,
      wallMs: NOW,
      date: undefined,
      timeServer: undefined,
      slowFile: undefined,
      manifests: [],
      sleptMs: [],
      distrusted: [],
    };
    this.boot();
  }

  boot(): void {
    bootBoard(this.board);
  }

  runningImage(lengthBytes: number): string {
    const slot = readFileSync(this.board.booted, 'utf8').trim() === 'a' ? 'a' : 'b';
    return readFileSync(this.#slots[slot], 'utf8').slice(0, lengthBytes);
  }

  /** What the agent has after a restart: the same disk, new memory. */
  async ports(): Promise<Ports> {
    const store = new SqliteStore(await this.#opened());
    return {
      store,
      staging: new StagingDirectory(join(this.directory.path, 'staging'), 0),
      installers: installersOf(this.#primary(), this.#components, PRIMARY.serial),
      health: {
        check: async () => {
          await Promise.resolve();
          const { sick } = this.outside;
          if (sick !== undefined)
            throw new OtaError('HEALTH_CHECK_FAILED', { check: 'c', said: sick });
        },
      },
      brake: this.brake,
      media: openMedia(),
      boot: {
        bootId: readFileSync(this.board.bootId, 'utf8'),
        uptimeMs: () => this.outside.uptimeMs,
        reboot: () => Promise.resolve(),
      },
      clock: {
        ...openClock(await store.latestKnownTime(), {
          wallMs: () => this.outside.wallMs,
          monotonicMs: () => 0,
        }),
        sleep: (ms) => {
          this.outside.sleptMs.push(ms);
          return Promise.resolve();
        },
        random: () => 0.5,
      },
      reporter: { transition: ignore, progress: ignore, refused: ignore },
      limits: {
        downloadAttempts: 3,
        healthDeadlineMs: HEALTH_DEADLINE_MS,
        probeGateway: true,
        keepImages: 'until-next',
      },
      ...this.#network(),
    };
  }

  /** @returns the path of a copy of all that the agent remembers now */
  async copyDisk(): Promise<string> {
    const copy = this.#newCopy();
    await (await this.#opened()).all('VACUUM INTO ?', copy);
    return copy;
  }

  /** The agent remembers what it did then; slots and marker stay as they are. */
  async putBack(copy: string): Promise<void> {
    await this.#database?.close();
    const path = this.#newCopy();
    copyFileSync(copy, path);
    this.#database = await Database.open(path);
  }

  /** As after moving the database aside and provisioning again. */
  async emptyDisk(): Promise<void> {
    await this.#database?.close();
    this.#database = await this.#open();
  }

  async cycle(instead: Partial<Ports> = {}): Promise<Outcome> {
    return runCycle({ ...(await this.ports()), ...instead });
  }

  /** What is on a stick that is mounted at `source`; a person asks for it. */
  async insert(source: string, instead: Partial<Ports> = {}): Promise<Outcome> {
    return runOfflineCycle({ ...(await this.ports()), ...instead }, { source, by: 'hand' });
  }

  /** Cycles and boots until the update is over. */
  async install(): Promise<void> {
    assert.equal((await this.cycle()).outcome, 'reboot-required');
    this.boot();
    assert.equal((await this.cycle()).outcome, 'installed');
  }

  async close(): Promise<void> {
    await this.#database?.close();
    this.directory.remove();
  }

  #primary(): Installer {
    return stagedOf(openAbSlot(this.#slots, this.board));
  }

  #network(): Omit<Ports, keyof LocalPorts> {
    const { outside, world } = this;
    const demandGateway = (): void => {
      if (outside.gateway !== 'down') return;
      throw new OtaError('GATEWAY_UNREACHABLE', { url: 'u', cause: 'down', remedy: 'wait' });
    };
    return {
      ...(outside.timeServer === undefined ? {} : { timeServer: outside.timeServer }),
      vehicleId: 'device-1',
      directorFormat: UPTANE,
      imageFormat: UPTANE,
      repositories: {
        fetchMetadata: async (repo, file) => {
          demandGateway();
          if (file === outside.slowFile) {
            const limit = { minimumBytesPerSecond: 1024, overMs: 30_000 };
            throw new OtaError('DOWNLOAD_TOO_SLOW', { filename: file, ...limit });
          }
          return Promise.resolve(world.serve(repo, file));
        },
        openImage: (target, offset) => outside.image(offset, target),
        distrust: (target) => {
          outside.distrusted.push(target.filename);
        },
      },
      director: {
        putManifest: async (body) => {
          demandGateway();
          await Promise.resolve();
          const { gateway } = outside;
          if (gateway === 'refuses-manifests') {
            throw new OtaError('GATEWAY_ANSWER', { url: 'u', status: 400, answer: 'no' });
          }
          if (typeof gateway === 'object') {
            const { answers: status, retryAfterSeconds } = gateway;
            throw new OtaError('GATEWAY_ANSWER', {
              url: 'u',
              status,
              answer: '',
              retryAfterSeconds,
            });
          }
          outside.manifests.push(Buffer.from(body).toString());
          return outside.date;
        },
        postEvents: async (events) => Promise.resolve(events.length),
      },
      signer: {
        keyId: 'key',
        method: 'ed25519',
        sign: async (payload) => Promise.resolve(sign(null, payload, KEY).toString('base64')),
      },
    };
  }

  async #opened(): Promise<Database> {
    this.#database ??= await this.#open();
    return this.#database;
  }

  #newCopy(): string {
    this.#copies += 1;
    return join(this.directory.path, `copy-${String(this.#copies)}.db`);
  }

  async #open(): Promise<Database> {
    const database = await Database.open(':memory:');
    const store = new SqliteStore(database);
    await store.saveEcus(this.#ecus);
    for (const [name, content] of this.world.device.trusted) {
      const [repo, role = ''] = name.split('/');
      assert.ok(repo === 'director' || repo === 'image');
      await store.keep([{ need: 'keep', repo, role, bytes: content }]);
    }
    return database;
  }
}

export const HEALTH_DEADLINE_MS = 60_000;
const { privateKey: KEY, publicKey } = generateKeyPairSync('ed25519');
/** What the Director of these devices knows their Primary by. */
export const PRIMARY_KEY = publicKey;
const ignore = (): undefined => undefined;

/** An image as a download hands it out. */
export async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(Buffer.from(text));
}
