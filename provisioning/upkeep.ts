/** Keeps the identity of a running device usable: certificates renewed in time, keys rotated. */
import { OtaError, type AnyOtaError } from '../agent/errors.ts';
import { UPTANE_KEY, TLS_KEY } from '../agent/io/token/cryptoki.ts';
import { nextGeneration } from '../agent/io/token/generations.ts';
import type { Upkeep } from '../agent/ports.ts';
import type { Instant } from '../agent/uptane/time.ts';
import { isRenewalDue, isTooOld, mayTryAgain, renewalDueAt } from './due.ts';
import type { Means } from './rotate-means.ts';
import { drive, type Hands, type Rest } from './rotate.ts';
import { formatRecord, parseRecord, type Ended, type RotationRecord } from './rotation-record.ts';
import { begin, isCancellable, next, type Rotation, type Step, type Subject } from './rotation.ts';

/** Who is told. */
export interface UpkeepObserver {
  step(of: Subject, from: Step, to: Step | 'over'): void;
  /** Durable when it resolves: the Director hears of it. */
  ended(ended: Ended): Promise<void>;
  waiting(of: Subject, why: AnyOtaError): void;
}

/** One rotation at a time, and what is to be done at every cycle. */
export class IdentityUpkeep implements Upkeep {
  readonly #means: Means;
  readonly #observer: UpkeepObserver;

  constructor(means: Means, observer: UpkeepObserver) {
    this.#means = means;
    this.#observer = observer;
  }

  /** What waits for a CA or a person has time until the update is done. */
  async resume(): Promise<void> {
    for (;;) {
      const { rotation } = await this.#load();
      if (rotation === undefined || isCancellable(rotation)) return;
      const rest = await this.#drive(rotation);
      demandSameProcess(rest);
      if (rest.is === 'waiting') return;
    }
  }

  async maintain(): Promise<void> {
    const record = await this.#noted(await this.#load());
    const { rotation, aside } = record;
    if (rotation !== undefined && isCancellable(rotation)) {
      demandSameProcess(await this.#drive(rotation));
      return;
    }
    if (aside !== undefined || (rotation !== undefined && rotation.of !== 'uptane')) return;
    const of = this.#due(record);
    // A Director that cannot decide about a key must not let the certificate run out meanwhile.
    const isWanted = rotation === undefined ? of !== undefined : of === 'certificate';
    if (of !== undefined && isWanted) demandSameProcess(await this.#begin(record, of));
  }

  /**
   * Replaces one now, or goes on with a rotation that was begun.
   *
   * @throws OtaError USAGE while another one is under way, or for what the settings name
   */
  async rotate(of: Subject): Promise<Rest> {
    this.#refuseNamed(of);
    const { rotation } = await this.#load();
    if (rotation !== undefined) {
      const rest = await this.#drive(rotation);
      if (rotation.of === of) return rest;
      if (rest.is === 'waiting') throw busy(rest.rotation, rest.why);
    }
    return this.#begin(await this.#load(), of);
  }

  /**
   * Gives a rotation up, as long as nobody outside depends on what is new.
   *
   * @throws OtaError USAGE if there is none, or if it is too late
   */
  async cancel(): Promise<Rest> {
    const { rotation } = await this.#load();
    if (rotation === undefined) {
      const remedy = 'ota-agent status shows rotations that are under way';
      throw new OtaError('USAGE', { what: 'there is no rotation to cancel', remedy });
    }
    if (!isCancellable(rotation)) {
      const what = `the rotation (${rotation.of}) is at ${rotation.at}, where the gateway decides`;
      throw new OtaError('USAGE', { what, remedy: 'ota-agent once goes on with it' });
    }
    const cancelled = next(rotation, { type: 'cancelled' });
    if (cancelled === undefined) throw new OtaError('BUG', { what: 'cancelling ended a rotation' });
    await this.#save(cancelled, rotation);
    return this.#drive(cancelled);
  }

  async #begin(record: RotationRecord, of: Subject): Promise<Rest> {
    const { keys, certificate } = this.#means.identity();
    const name = of === 'uptane' ? UPTANE_KEY : TLS_KEY;
    const oldKey = keys[of === 'uptane' ? 'uptane' : 'tls'].generation;
    if (oldKey === undefined) throw nameless(name.label);
    const rotation = begin({
      of,
      startedAt: this.#means.now(),
      oldKey,
      newKey: of === 'certificate' ? oldKey : nextGeneration(name, oldKey),
      oldCertificate: of === 'uptane' ? '' : certificate.fingerprint,
    });
    const tried = { ...record.tried, [of]: rotation.startedAt };
    const { rotation: aside } = record;
    await this.#put({ ...record, rotation, tried, ...(aside === undefined ? {} : { aside }) });
    return this.#drive(rotation);
  }

  async #drive(rotation: Rotation): Promise<Rest> {
    const save = (after: Rotation | undefined, before: Rotation): Promise<void> =>
      this.#save(after, before);
    const rest = await drive(rotation, await this.#hands(rotation), save);
    if (rest.is === 'waiting') this.#observer.waiting(rotation.of, rest.why);
    return rest;
  }

  /** Loaded when they are needed: certificate requests bring a large library along. */
  async #hands({ of }: Rotation): Promise<Hands> {
    if (of === 'uptane') return (await import('./rotate-uptane.ts')).uptaneHands(this.#means);
    return (await import('./rotate-tls.ts')).tlsHands(this.#means);
  }

  async #save(after: Rotation | undefined, before: Rotation): Promise<void> {
    const record = await this.#load();
    this.#observer.step(before.of, before.at, after?.at ?? 'over');
    if (after !== undefined) {
      await this.#put({ ...record, rotation: after });
      return;
    }
    const last = this.#ending(before);
    // Told first: a power cut between the two tells it twice, which is better than never.
    await this.#observer.ended(last);
    const { aside, since, tried } = record;
    const goesOn = aside === undefined ? {} : { rotation: aside };
    await this.#put({ last, tried, since: { ...since, ...sinceOf(last) }, ...goesOn });
  }

  #ending({ of, at, failure }: Rotation): Ended {
    const endedAt = this.#means.now();
    if (at === 'removing-old' || failure === undefined) return { of, outcome: 'rotated', endedAt };
    return { of, outcome: 'undone', endedAt, failure };
  }

  /** A key counts from when it was first seen; an instant to come was noted by a clock that was wrong. */
  async #noted(record: RotationRecord): Promise<RotationRecord> {
    const now = this.#means.now();
    const unknown = (['tls', 'uptane'] as const).filter((of) => {
      const since = record.since[of];
      return this.#maxAgeMs(of) !== undefined && (since === undefined || since > now);
    });
    if (unknown.length === 0) return record;
    const seen = Object.fromEntries(unknown.map((of) => [of, now]));
    const noted = { ...record, since: { ...record.since, ...seen } };
    await this.#put(noted);
    return noted;
  }

  #due(record: RotationRecord): Subject | undefined {
    const now = this.#means.now();
    const inUse = this.#means.identity().keys;
    const keys = (['tls', 'uptane'] as const).find((of) => {
      if (this.#named(of) !== undefined) return false;
      if (inUse[of].generation === undefined) return false;
      const maxAgeMs = this.#maxAgeMs(of);
      if (maxAgeMs === undefined || !mayTryAgain(maxAgeMs, now, record.tried[of])) return false;
      return isTooOld(maxAgeMs, now, record.since[of] ?? now);
    });
    // The certificate first: without it, nothing else can be done either.
    const hasName = inUse.tls.generation !== undefined && this.#named('certificate') === undefined;
    return hasName && this.#isCertificateDue(record, now) ? 'certificate' : keys;
  }

  #isCertificateDue({ since, tried }: RotationRecord, now: Instant): boolean {
    const { certificate, deviceId } = this.#means.identity();
    const dueAt = renewalDueAt(certificate, this.#means.settings.identity.renew_at, deviceId);
    if (!isRenewalDue(certificate, dueAt, now, since.certificate)) return false;
    return mayTryAgain(certificate.validTo - certificate.validFrom, now, tried.certificate);
  }

  /** The setting that names what others made: they replace it, too. */
  #named(of: Subject): string | undefined {
    const { tls_key, tls_certificate, uptane_key } = this.#means.settings.identity;
    if (of === 'uptane') return uptane_key === undefined ? undefined : 'identity.uptane_key';
    if (tls_key !== undefined) return 'identity.tls_key';
    return tls_certificate === undefined ? undefined : 'identity.tls_certificate';
  }

  #refuseNamed(of: Subject): void {
    const setting = this.#named(of);
    if (setting === undefined) return;
    const what = `${setting} names an object that others made: the agent does not replace it`;
    const remedy = `replace it with the tool that made it and correct ${setting}, or remove the setting`;
    throw new OtaError('USAGE', { what, remedy });
  }

  #maxAgeMs(of: 'tls' | 'uptane'): number | undefined {
    const { tls_key_max_age: tls, uptane_key_max_age: uptane } = this.#means.settings.identity;
    return of === 'tls' ? tls : uptane;
  }

  async #load(): Promise<RotationRecord> {
    return parseRecord(await this.#means.record.get('rotation'));
  }

  #put(record: RotationRecord): Promise<void> {
    return this.#means.record.put('rotation', formatRecord(record));
  }
}

/** A new TLS key comes with a new certificate. */
function sinceOf({ of, outcome, endedAt }: Ended): RotationRecord['since'] {
  if (outcome === 'undone') return {};
  return of === 'tls' ? { tls: endedAt, certificate: endedAt } : { [of]: endedAt };
}

/** What only a new process can go on with ends this one. */
function demandSameProcess(rest: Rest): void {
  if (rest.is === 'waiting' && rest.why.code === 'TOKEN_FAILED') throw rest.why;
}

/** Made by other tools. Two keys of one label that nothing tells apart would both go. */
function nameless(label: string): OtaError<'TOKEN_OBJECT'> {
  const problem = 'private and public key have no CKA_ID in common, by which to know them again';
  const remedy = `pkcs11-tool --login --label ${label} --set-id 02, for --type privkey and pubkey`;
  return new OtaError('TOKEN_OBJECT', { uri: label, problem, remedy });
}

function busy({ of, at }: Rotation, why: AnyOtaError): OtaError<'USAGE'> {
  const what = `a rotation (${of}) is under way, at ${at}: ${why.message}`;
  const remedy = 'let it end first (ota-agent once), or ota-agent rotate cancel';
  return new OtaError('USAGE', { what, remedy }, { cause: why });
}
