/**
 * One simulated device: the agent's daemon, cycle, verification, HTTP, TLS and storage, with ports of
 * its own only where a device has hardware.
 *
 * Real: everything that is imported from `agent/`, a client certificate and a connection of its own.
 * Simulated: installer and health, the disk below the database (memory), the pace of time.
 */
import { createSecureContext } from 'node:tls';

import { openBrake } from '../../agent/cycle/brake.ts';
import { Daemon } from '../../agent/cycle/daemon.ts';
import { openClock } from '../../agent/io/clock.ts';
import { gatewayPolicy } from '../../agent/io/gateway-trust.ts';
import { HttpClient } from '../../agent/io/http.ts';
import { installersOf } from '../../agent/io/installers/by-ecu.ts';
import { HttpDirector, HttpRepositories } from '../../agent/io/repositories.ts';
import { StagingDirectory } from '../../agent/io/staging.ts';
import { Database } from '../../agent/io/store/database.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import type { Clock, Director, Ports } from '../../agent/ports.ts';
import { UPTANE } from '../../agent/uptane/format.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { VERSION } from '../../agent/version.ts';
import { PATH, registrationBody } from '../../provisioning/register.ts';
import type { TlsIdentity } from './certificates.ts';
import type { Member } from './population.ts';
import { simulatedSoftware, type SimulatedSoftware } from './simulated-installer.ts';
import type { SimulatedTime } from './simulated-time.ts';
import type { UptaneKey } from './uptane-keys.ts';

/** What all devices have in common. */
export interface Surroundings {
  readonly gatewayUrl: string;
  readonly caPem: string;
  readonly directorRoot: Uint8Array;
  readonly imageRoot: Uint8Array;
  readonly time: SimulatedTime;
  readonly intervalMs: number;
  readonly healthDeadlineMs: number;
  readonly stagingDirectory: string;
}

export interface Poll {
  /** Simulated, since the start; when the manifest was ready to be sent. */
  readonly atMs: number;
  /** Real, to the end of the cycle. */
  readonly durationMs: number;
  /** As the service's status would say it. */
  readonly outcome: string;
  /** Whether anything was sent: a cycle that looks after its health again sends nothing. */
  readonly asked: boolean;
}

interface Instants {
  readonly atMs: number;
  readonly realMs: number;
}

interface Own {
  readonly member: Member;
  readonly tls: TlsIdentity;
  readonly key: UptaneKey;
  readonly isBad: (image: string) => boolean;
}

/** The shipped defaults. */
const TIMEOUT_MS = 30_000;
const MINIMUM_RATE = { bytesPerSecond: 1024, windowMs: 30_000 };
const LIMITS = {
  downloadAttempts: 5,
  probeGateway: true,
  keepImages: 'until-done',
} as const;

export class FleetDevice {
  readonly member: Member;
  readonly #software: SimulatedSoftware;
  readonly #database: Database;
  readonly #http: HttpClient;
  readonly #ports: Ports;
  readonly #surroundings: Surroundings;
  readonly #key: UptaneKey;
  #began: Instants | undefined;

  private constructor(own: Own, surroundings: Surroundings, database: Database) {
    const { member, tls, key } = own;
    this.member = member;
    this.#software = simulatedSoftware(own.isBad);
    this.#database = database;
    this.#surroundings = surroundings;
    this.#key = key;
    const clock = openClock(0 as Instant);
    const trust = { caPem: surroundings.caPem, minVersion: 'TLSv1.2' } as const;
    this.#http = new HttpClient({
      policy: gatewayPolicy(trust, clock),
      secureContext: createSecureContext({
        ca: surroundings.caPem,
        cert: tls.certificatePem,
        key: tls.keyPem,
      }),
      timeoutMs: TIMEOUT_MS,
      userAgent: `ota-agent/${VERSION}`,
    });
    this.#ports = this.#assemble(new SqliteStore(database), clock);
  }

  /** Provisioned, but for the registration of its ECU. */
  static async create(own: Own, surroundings: Surroundings): Promise<FleetDevice> {
    const database = await Database.open(':memory:');
    const store = new SqliteStore(database);
    const { serial, hardwareId } = own.member;
    await store.saveEcus([{ serial, hardwareId }]);
    await store.keep([
      { need: 'keep', repo: 'director', role: 'root', bytes: surroundings.directorRoot },
      { need: 'keep', repo: 'image', role: 'root', bytes: surroundings.imageRoot },
    ]);
    return new FleetDevice(own, surroundings, database);
  }

  async register(): Promise<void> {
    const { publicKey } = this.#key;
    const response = await this.#http.send({
      method: 'POST',
      url: `${this.#surroundings.gatewayUrl}${PATH}`,
      body: registrationBody([this.member], { type: 'ed25519', publicKey }),
      headers: { 'content-type': 'application/json' },
    });
    await response.discard();
    if (response.status >= 300) {
      throw new Error(`${this.member.id} is not registered: ${String(response.status)}`);
    }
    await this.#http.reconnect();
  }

  /** Polls until `stop`; a poll that does not even reach TLS is one, too. */
  run(stop: AbortSignal, polled: (poll: Poll) => void): Promise<void> {
    const { time, intervalMs } = this.#surroundings;
    const daemon = new Daemon(this.#ports, {
      pollIntervalMs: intervalMs,
      after: time.after,
      progressed: (outcome) => {
        const { atMs, realMs } = this.#began ?? this.#now();
        const durationMs = performance.now() - realMs;
        polled({ atMs, durationMs, outcome, asked: this.#began !== undefined });
        this.#began = undefined;
        // Between polls of a real fleet the gateway ends idle connections; here time is too short for it.
        void this.#http.reconnect();
      },
    });
    return daemon.run(stop);
  }

  get image(): string {
    return this.#software.image();
  }

  async close(): Promise<void> {
    await this.#http.close();
    await this.#database.close();
  }

  #assemble(store: SqliteStore, clock: Clock): Ports {
    const { gatewayUrl, time, stagingDirectory, healthDeadlineMs } = this.#surroundings;
    const urls = {
      director: `${gatewayUrl}/director`,
      image: `${gatewayUrl}/repo`,
      events: `${gatewayUrl}/events`,
    };
    const { installer, health } = this.#software;
    return {
      repositories: new HttpRepositories(this.#http, urls, MINIMUM_RATE),
      director: this.#noting(new HttpDirector(this.#http, urls)),
      signer: this.#key.signer,
      vehicleId: this.member.id,
      directorFormat: UPTANE,
      imageFormat: UPTANE,
      store,
      staging: new StagingDirectory(`${stagingDirectory}/${this.member.id}`, 0),
      installers: installersOf(installer, new Map(), this.member.serial),
      health,
      brake: openBrake(),
      boot: {
        bootId: 'the only one',
        uptimeMs: () => Math.floor(time.nowMs()),
        reboot: () => Promise.resolve(),
      },
      clock: {
        ...clock,
        monotonicMs: () => time.nowMs(),
        sleep: (ms) => time.sleep(ms),
      },
      reporter: { transition: ignore, progress: ignore, refused: ignore },
      limits: { ...LIMITS, healthDeadlineMs },
    };
  }

  #now(): Instants {
    return { atMs: this.#surroundings.time.nowMs(), realMs: performance.now() };
  }

  #noting(director: Director): Director {
    return {
      putManifest: (body) => {
        this.#began ??= this.#now();
        return director.putManifest(body);
      },
      postEvents: (events) => director.postEvents(events),
    };
  }
}

const ignore = (): void => undefined;
