/** What the cycle needs from the outside world. Adapters in `io/` implement these; nothing else does. */
import type { GateRules, GateStep, Inhibition } from './cycle/gate.ts';
import type { FailureCode, Repo } from './errors.ts';
import type { Authority } from './uptane/keys.ts';
import type { TrustedTarget } from './uptane/plan.ts';
import type { Format } from './uptane/format.ts';
import type { EcuInventory, InstalledImage } from './uptane/inventory.ts';
import type { DeviceEvent } from './uptane/manifest.ts';
import type { Binding } from './uptane/standing.ts';
import type { Instant } from './uptane/time.ts';
import type { Answer, Keep } from './uptane/verify.ts';

export interface Ports {
  readonly repositories: Repositories;
  readonly director: Director;
  /** Absent where no signed time is configured. */
  readonly timeServer?: TimeServer;
  readonly signer: Signer;
  /** Absent where the gateway is told of nothing but updates. */
  readonly telemetry?: Telemetry;
  /** Absent where nothing is to be renewed or rotated. */
  readonly upkeep?: Upkeep;
  /** Absent where nothing is sealed in the token. */
  readonly anchor?: Anchor;
  /** What the gateway calls this device: the common name of its certificate. */
  readonly vehicleId: string;
  /** Of the metadata of each repository, with the limits that are configured. */
  readonly directorFormat: Format;
  readonly imageFormat: Format;
  readonly store: Store;
  readonly staging: Staging;
  readonly installers: Installers;
  readonly health: Health;
  readonly brake: Brake;
  /** Absent where updates wait for nothing. */
  readonly gate?: Gate;
  /** Absent where updates come from the gateway alone. */
  readonly media?: Media;
  readonly boot: Boot;
  readonly clock: Clock;
  readonly reporter: Reporter;
  readonly limits: Limits;
  /** In a cycle that has no network, and asks for none. */
  readonly isOffline?: true;
}

/** What works without network and token: enough to confirm, to roll back and to look. */
export type LocalPorts = Omit<Ports, NetworkPorts>;
type NetworkPorts =
  | 'repositories'
  | 'director'
  | 'timeServer'
  | 'signer'
  | 'upkeep'
  | 'anchor'
  | 'vehicleId'
  | 'directorFormat'
  | 'imageFormat';

/** From the settings. */
interface Limits {
  readonly downloadAttempts: number;
  /** How long a new image may take to be found healthy. */
  readonly healthDeadlineMs: number;
  /** Whether the Director has to be reached from it. */
  readonly probeGateway: boolean;
  /** How long images stay in staging: until their update is over, or until there is another. */
  readonly keepImages: 'until-done' | 'until-next';
}

/** The two repositories, read only. */
export interface Repositories {
  /**
   * One metadata file, by the name the repository serves it under, percent-encoded where need be.
   *
   * @returns `undefined` when the repository says it has no such file (403, 404, 424)
   * @throws OtaError METADATA_TOO_LARGE at the first byte past `maxBytes`
   * @throws OtaError GATEWAY_UNREACHABLE, GATEWAY_TLS, GATEWAY_ANSWER, GATEWAY_TIMEOUT
   */
  fetchMetadata(repo: Repo, file: string, maxBytes: number): Promise<Answer>;

  /**
   * The bytes of one image from `offsetBytes` on, unchecked; a chunk is valid until the next is asked for.
   *
   * @throws OtaError DOWNLOAD_FAILED, DOWNLOAD_TOO_SLOW, GATEWAY_UNREACHABLE
   */
  openImage(target: TrustedTarget, offsetBytes: number): AsyncIterable<Uint8Array>;
  /** The bytes that came for `target` were wrong: whoever served them is asked last from now on. */
  distrust(target: TrustedTarget): void;
}

/** Directories where media with offline updates are, such as sticks (Uptane PURE-2). */
export interface Media {
  /**
   * Names of the lockboxes there, unchecked.
   *
   * @throws OtaError FILE_UNREADABLE if it is no such directory, MEDIUM_FAILED if it cannot be read
   */
  lockboxes(source: string): Promise<readonly string[]>;
  /**
   * The two repositories as they are there. Whatever it says may change at any time: whoever holds a
   * medium can exchange it. Each file is read once, and an image is proven from where it was copied to.
   *
   * Beside what `Repositories` throws, METADATA and images that cannot be read are MEDIUM_FAILED.
   */
  open(source: string): Repositories;
  /**
   * Whether every image is there in its whole length, so that nothing begins which cannot end.
   *
   * @throws OtaError DOWNLOAD_FAILED, MEDIUM_FAILED
   */
  demandImages(source: string, targets: readonly TrustedTarget[]): Promise<void>;
  /** Changes whenever another medium is there; `undefined` when none is. Never rejects. */
  fingerprint(source: string): Promise<string | undefined>;
}

/** The Director's inbox. */
export interface Director {
  /**
   * @param body - the signed manifest, exactly the bytes to send
   * @returns the server's own time (`Date`), where it says so
   */
  putManifest(body: Uint8Array): Promise<Instant | undefined>;
  /** @returns how many of the first events were taken; the rest stays queued */
  postEvents(events: readonly DeviceEvent[]): Promise<number>;
}

/** What the gateway keeps about this device besides updates: machine, network, packages. */
export interface Telemetry {
  /**
   * Tells what has changed since it was told, and remembers that.
   *
   * @param failed - told of each part that could not be; the others are told all the same
   */
  report(failed: (error: unknown) => void): Promise<void>;
}

/** Who signs what time it is. */
export interface TimeServer {
  /** Whose signatures make a time. */
  readonly authority: Authority;
  /**
   * @param request - the body, from `uptane/attested-time.ts`
   * @returns the signed answer, unchecked, of a bounded size
   * @throws OtaError GATEWAY_*, METADATA_TOO_LARGE, DOWNLOAD_TOO_SLOW
   */
  askTime(request: Uint8Array): Promise<Uint8Array>;
}

/** The Uptane key of the Primary ECU. It never leaves its token. */
export interface Signer {
  readonly keyId: string;
  readonly method: 'rsassa-pss' | 'ed25519' | 'ecPrime256v1';
  /** @returns the signature over `payload`, standard Base64 with padding */
  sign(payload: Uint8Array): Promise<string>;
}

/**
 * Keeps the identity usable. What is refused or cannot be done now is reported and never thrown: a CA
 * that says no must not keep a device from its updates.
 *
 * @throws OtaError TOKEN_FAILED if only a new process can go on
 */
export interface Upkeep {
  /** Finishes, or takes back, what the gateway has to decide. */
  resume(): Promise<void>;
  /** Begins what is due by the time that is known now, or goes on with what waits for others. */
  maintain(): Promise<void>;
}

/** Where a small record outlives the disk that it speaks of: an object in the token. */
export interface Anchor {
  /** Which token, for messages. */
  readonly uri: string;
  /**
   * Every record that is there. There are two after a power cut, and one of them may be damaged.
   *
   * @throws OtaError TOKEN_*
   */
  records(): Promise<readonly Uint8Array[]>;
  /**
   * Stores a record, and only then destroys all others.
   *
   * @throws OtaError TOKEN_FAILED if it cannot be stored; what was there before stays
   */
  replace(record: Uint8Array): Promise<void>;
}

/** Everything that must survive a power cut. A promise resolved means it is on disk. */
export interface Store {
  /** The cycle's state as `cycle/state.ts` wrote it. */
  loadState(): Promise<string | undefined>;
  saveState(state: string): Promise<void>;
  /** An update ended: what runs now, the history and the state that follows, together or not at all. */
  finish(end: Finish): Promise<void>;

  /** Trusted metadata by `director/root`, `image/targets`, `image/delegated/NAME`. */
  loadTrusted(): Promise<ReadonlyMap<string, Uint8Array>>;
  /** Applied together or not at all, in order. */
  keep(changes: readonly Keep[]): Promise<void>;

  inventory(): Promise<readonly EcuInventory[]>;
  /** A roll-back by hand begins: whatever happens, it has to be finished. */
  intendRollBack(): Promise<void>;
  rollBackIntended(): Promise<boolean>;
  /** It is finished: on these ECUs runs what ran before, and the last plan counts as failed. */
  restorePrevious(ecus: readonly string[]): Promise<void>;
  /** ECUs on which the last update that was installed changed something; `undefined` if not known. */
  lastUpdated(): Promise<readonly string[] | undefined>;
  history(): Promise<readonly HistoryEntry[]>;

  /** Ends a report that cannot be made now: `result`, as text, is kept for later, with the state after it. */
  postponeReport(result: string, state: string): Promise<void>;
  /** Oldest first. */
  postponedReports(): Promise<readonly string[]>;
  /** The first one was delivered. */
  dropPostponedReport(): Promise<void>;
  /** Names of what an offline update has replaced, by `uptane/superseded.ts`. */
  superseded(): Promise<ReadonlySet<string>>;

  /** The plan that failed last and must not be tried again by itself. */
  failedPlan(): Promise<string | undefined>;
  /** How often each image failed since it last went well, by the names of `Finish.images`. */
  failedImages(): Promise<ReadonlyMap<string, FailedImage>>;
  /** The update that may have to wait, as `cycle/hold.ts` wrote it. */
  waiting(): Promise<string | undefined>;
  saveWaiting(waiting: string | undefined): Promise<void>;
  /** How the last verification was refused, for people; `undefined` if it was not. */
  refusal(): Promise<string | undefined>;
  saveRefusal(code: string | undefined): Promise<void>;
  /** Attacks that the Director has not been told of, for `attacks_detected`. */
  unreportedAttacks(): Promise<readonly FailureCode[]>;
  /** Adds one; it stays until it was reported. */
  noteAttack(code: FailureCode): Promise<void>;
  attacksReported(codes: readonly FailureCode[]): Promise<void>;

  /** @param now - what the report will give as its time */
  nextReport(now: Instant): Promise<ReportNumber>;
  latestKnownTime(): Promise<Instant>;
  /** Raises the latest known time, in steps coarse enough to cost an idle device nothing. */
  raiseLatestKnownTime(now: Instant): Promise<void>;

  /** The highest release counter by ECU serial. */
  releaseCounters(): Promise<ReadonlyMap<string, number>>;
  binding(): Promise<Binding>;
  saveBinding(binding: Binding): Promise<void>;
  /** Makes up for a disk that was put back, as far as the seal knows; all of it or nothing. */
  catchUp(seal: CatchUp): Promise<void>;

  queueEvent(event: DeviceEvent): Promise<void>;
  queuedEvents(limit: number): Promise<readonly DeviceEvent[]>;
  dropEvents(ids: readonly string[]): Promise<void>;
}

/** What has to be at least this high. */
export interface CatchUp {
  readonly reports: number;
  readonly latestKnownTime: Instant;
  readonly releases: ReadonlyMap<string, number>;
  /** ECUs that do not run what the disk says: it is forgotten. */
  readonly unknown: readonly string[];
  readonly binding: Binding;
  /** The state to go on from: what was under way then is not under way now. */
  readonly state: string;
  /** To be told to the Director. */
  readonly attack: FailureCode | undefined;
}

/** What tells a report from every other. */
export interface ReportNumber {
  /** Never given out twice, whatever happens next. */
  readonly counter: number;
  /** The time that the report before gave; the epoch if there was none. */
  readonly previousTime: Instant;
}

export interface Finish {
  readonly state: string;
  /** What the update put on ECUs and what runs there now; mostly empty when it failed. */
  readonly installed: readonly InstalledImage[];
  /** Names of all images of the update, by ECU and content. */
  readonly images: readonly string[];
  readonly history: HistoryEntry;
  /** Names of its images and of why they were assigned, separated by spaces. */
  readonly planDigest: string;
  /** A plan that failed is not tried again by itself. */
  readonly failed: boolean;
  /** What an offline update has replaced, in place of what others had; absent for any other. */
  readonly superseded?: readonly string[];
}

export interface FailedImage {
  readonly failures: number;
  /** The last one. */
  readonly failedAt: Instant;
}

/** One finished update, for people. */
export interface HistoryEntry {
  readonly endedAt: Instant;
  readonly correlationId: string | undefined;
  readonly filenames: readonly string[];
  /** `OK` or the failure's code. */
  readonly code: string;
  readonly description: string;
}

/** Where images wait between download and install. */
export interface Staging {
  /**
   * Receives an image, resuming what is already there, and proves length and every signed hash.
   *
   * @returns the path of the complete, synced, verified file
   * @throws OtaError IMAGE_TOO_LARGE, IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH
   * @throws OtaError SPACE_INSUFFICIENT, STORAGE_FAILED
   */
  receive(target: TrustedTarget, open: OpenImage, progress: Progress): Promise<string>;
  /**
   * Whether there is room for all that is still missing of `targets`.
   *
   * @throws OtaError SPACE_INSUFFICIENT, STORAGE_FAILED
   */
  demandSpace(targets: readonly TrustedTarget[]): Promise<void>;
  /**
   * Removes every staged file that is not one of `targets`.
   *
   * @throws OtaError STORAGE_FAILED
   */
  sweep(targets: readonly TrustedTarget[]): Promise<void>;
}

/** A chunk is valid until the next is asked for. */
export type OpenImage = (offsetBytes: number) => AsyncIterable<Uint8Array>;
/** `totalBytes` is 0 where nobody knows how many there will be. */
export type Progress = (doneBytes: number, totalBytes: number) => void;

/** What installs on which ECU of this device. */
export interface Installers {
  /** @throws OtaError INSTALL_FAILED if the configuration has none for it */
  of(ecu: string): Installer;
}

/** Whether this device does what it is for. */
export interface Health {
  /** @throws OtaError HEALTH_CHECK_FAILED with the first check that failed, and what it said */
  check(): Promise<void>;
}

/** What an update has to wait for. */
export interface Gate {
  readonly rules: GateRules;
  /** What holds an update back now, before this step; never rejects. */
  inhibitions(before: GateStep): Promise<readonly Inhibition[]>;
}

/** How people stop a download that is under way. */
export interface Brake {
  readonly asked: 'pause' | 'abort' | undefined;
  /** Resolves when something is asked. */
  readonly pulled: Promise<undefined>;
  ask(what: 'pause' | 'abort'): void;
  release(): void;
}

/** Puts one image on one ECU: from a file that was staged, or as it arrives. */
export type Installer = StagedInstaller | StreamingInstaller;

/** What every installer does. Each method may be called again after a power cut. */
interface InstallerSteps {
  readonly kind: string;
  /** Whether a new image runs only after a reboot; rejects with INSTALL_FAILED where nobody can say. */
  readonly needsReboot: boolean | Promise<boolean>;
  /**
   * Refuses before anything is downloaded: what is missing, too small, or not for this hardware.
   *
   * @throws OtaError INSTALL_FAILED, SPACE_INSUFFICIENT
   */
  check(target: TrustedTarget): Promise<void>;
  /** Chooses the proven image, atomically. For `needsReboot`, for a trial boot only. */
  activate(target: TrustedTarget): Promise<void>;
  /** After a boot: does what runs now come from `target`? Asked of what booted, not of what was hoped. */
  booted(target: TrustedTarget): Promise<boolean>;
  /** Makes the running image permanent. */
  confirm(target: TrustedTarget): Promise<void>;
  /**
   * Tells a boot loader that counts every boot, and not those of a trial alone, that this one went
   * well; does nothing while an image is on trial. Absent where trials alone are counted.
   */
  noteGoodBoot?(): Promise<void>;
  /**
   * Chooses the image that ran before `target`, atomically; does nothing where that is chosen already.
   *
   * @throws OtaError INSTALL_FAILED if `target` runs and there is nothing to go back to
   */
  rollBack(target: TrustedTarget): Promise<void>;
  /**
   * What it finds on this device: slots, versions of its tool, what runs; for people and for doctor.
   *
   * @throws OtaError INSTALL_FAILED if it could not install anything here, with the reason
   */
  describe(): Promise<Readonly<Record<string, string>>>;
}

/** Installs from a file that the agent staged and proved. */
export interface StagedInstaller extends InstallerSteps {
  readonly takes: 'staged';
  /**
   * Writes the staged image where it will run from, reads it back and proves its hashes.
   * The running image stays bootable; the new one is not yet chosen.
   */
  write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void>;
}

/** Writes the image where it will run from while it is downloaded: no copy of it is staged. */
export interface StreamingInstaller extends InstallerSteps {
  readonly takes: 'stream';
  /**
   * Receives the image, resuming what is there already where it can. What was there before can no
   * longer be chosen from the first byte on; what runs stays bootable.
   *
   * @throws OtaError IMAGE_TOO_LARGE, IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH, SPACE_INSUFFICIENT,
   *   INSTALL_FAILED, and what `open` throws
   */
  receive(target: TrustedTarget, open: OpenImage, progress: Progress): Promise<void>;
  /**
   * Reads back what was received and proves it; only then may it be activated.
   *
   * @throws OtaError IMAGE_HASH_MISMATCH, INSTALL_FAILED
   */
  prove(target: TrustedTarget, progress: Progress): Promise<void>;
}

export interface Boot {
  /** Changes on every boot of this device. */
  readonly bootId: string;
  /** Since this boot, by a clock that nobody sets and that runs on while the device sleeps. */
  uptimeMs(): number;
  /** Asks the device to reboot; resolves when the request was made. */
  reboot(): Promise<void>;
}

export interface Clock {
  /** The best that is known, by the rules of `uptane/attested-time.ts`. */
  now(): Instant;
  /** A time server signed just now that it is `at`. */
  attest(at: Instant): void;
  /** A server that TLS vouches for said just now that it is `at`; the last one counts. */
  noteHttpDate(at: Instant): void;
  /** From now on it is never before `at`. */
  raiseFloor(at: Instant): void;
  /** For intervals only: it counts from some instant, and never jumps when the time is set. */
  monotonicMs(): number;
  sleep(ms: number): Promise<void>;
  /** A random UUID, in text. */
  uuid(): string;
  /** 0 to 1, for jitter only. */
  random(): number;
}

/** Where people look: log lines, progress bars, status text of the service. */
export interface Reporter {
  transition(from: string, to: string, facts: Readonly<Record<string, string | number>>): void;
  progress(phase: 'download' | 'install', filename: string, done: number, total: number): void;
  refused(error: Error): void;
}
