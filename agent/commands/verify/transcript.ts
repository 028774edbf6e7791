/** Writes down a conversation as it is held: every question, answer, check and decision, in order. */
import { createHash } from 'node:crypto';

import type { AnyOtaError, Repo } from '../../errors.ts';
import type { Observer, Passed, RoleSeen } from '../../uptane/observer.ts';
import { formatInstant } from '../../uptane/time.ts';
import type { Answer, Keep, Need } from '../../uptane/verify.ts';

type Fetch = Exclude<Need, Keep>;

/** One step of `--explain`: its kind, what it is about, and its facts. */
export type Step = Readonly<Record<string, string | number>>;

/** A file of a repository, and the role that it is for. */
export interface Subject {
  readonly repo: Repo;
  readonly role: string;
  readonly file: string;
}

/** What a failure is about, and whether that makes the role a refused one. */
export interface Blame extends Subject {
  readonly isRefused: boolean;
}

/** Every file is right by itself where these are found: the two repositories do not agree. */
const ABOUT_MATCHING: ReadonlySet<string> = new Set([
  'TARGET_MISMATCH',
  'TARGET_NOT_IN_IMAGE_REPO',
]);

export class Transcript implements Observer {
  readonly steps: Step[] = [];
  /** What was read last, for those who want to know what it looks like. */
  lastRead: Uint8Array = new Uint8Array();
  readonly #roles = new Map<string, RoleSeen>();
  /** By `REPO/ROLE`: the file that was served for it last. */
  readonly #files = new Map<string, string>();
  /** What a failure at this moment is about. */
  #current: Subject | undefined;
  /** The file that was read last. */
  #last: Subject | undefined;

  /** Every role that was believed, in the order it was. */
  get roles(): readonly RoleSeen[] {
    return [...this.#roles.values()];
  }

  asks({ repo, file, maxBytes }: Fetch): void {
    this.#current = { repo, role: roleOfFile(file), file };
    this.steps.push({ step: 'ask', repo, file, maxBytes });
  }

  /** A root that was pinned by name, instead of being asked for. */
  reads(repo: Repo, path: string, bytes: Uint8Array): void {
    this.#current = { repo, role: 'root', file: path };
    this.lastRead = bytes;
    this.steps.push({ step: 'read', repo, file: path, ...facts(bytes) });
  }

  isAnswered({ repo, file }: Fetch, answer: Answer): void {
    if (answer === undefined) {
      this.#current = undefined;
      this.steps.push({ step: 'absent', repo, file });
      return;
    }
    const role = roleOfFile(file);
    this.lastRead = answer;
    this.#last = { repo, role, file };
    this.#files.set(`${repo}/${role}`, file);
    this.steps.push({ step: 'answer', repo, file, ...facts(answer) });
  }

  keeps({ repo, role, bytes }: Keep): void {
    this.#current = undefined;
    this.steps.push({ step: bytes === undefined ? 'forget' : 'keep', repo, role });
  }

  passed({ repo, role, check, clause, facts }: Passed): void {
    const isBetweenFiles = role === undefined || check === 'assignments' || check === 'nothing-new';
    if (isBetweenFiles) this.#current = undefined;
    const about = role === undefined ? { repo } : { repo, role };
    this.steps.push({ step: 'check', ...about, check, clause, ...facts });
  }

  accepted(seen: RoleSeen): void {
    const { repo, role, version, expiresAt } = seen;
    this.#roles.set(`${repo}/${role}`, seen);
    // Until it is kept, further rules may still refuse what it says.
    this.#current = { repo, role, file: this.#fileOf(repo, role) };
    this.#last = this.#current;
    this.steps.push({ step: 'accept', repo, role, version, expires: formatInstant(expiresAt) });
  }

  /** What comes now is about an image, and no longer about metadata. */
  leaves(image: Subject): void {
    this.#current = undefined;
    this.#last = image;
  }

  /** @returns what the failure is about; `undefined` if nothing was read yet */
  stops({ code, details, message }: AnyOtaError): Blame | undefined {
    this.steps.push({ step: 'stop', code, why: message });
    if (ABOUT_MATCHING.has(code)) return this.#last && { ...this.#last, isRefused: false };
    if ('repo' in details && 'file' in details) {
      const { repo, file } = details;
      return { repo, role: roleOfFile(file), file, isRefused: true };
    }
    if (code === 'SNAPSHOT_ROLE_MISSING') {
      const { repo, role } = details;
      return { repo, role, file: this.#fileOf(repo, 'snapshot'), isRefused: true };
    }
    if (this.#current !== undefined) return { ...this.#current, isRefused: true };
    if ('repo' in details && 'role' in details) {
      const { repo, role } = details;
      return { repo, role, file: this.#fileOf(repo, role), isRefused: true };
    }
    return this.#last && { ...this.#last, isRefused: false };
  }

  /** What was not served in this run is named as it usually is. */
  #fileOf(repo: Repo, role: string): string {
    const version = this.#roles.get(`${repo}/${role}`)?.version;
    const usual = role === 'root' && version !== undefined ? `${String(version)}.root` : role;
    return (
      this.#files.get(`${repo}/${role}`) ?? `${usual.replace('delegated/', 'delegations/')}.json`
    );
  }
}

function facts(bytes: Uint8Array): Step {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { lengthBytes: bytes.byteLength, sha256 };
}

/** The role a file is for, by its name in either format. */
function roleOfFile(file: string): string {
  const delegated = /^delegations\/(?<name>.+)\.json$/u.exec(file)?.groups?.['name'];
  if (delegated !== undefined) return `delegated/${delegated}`;
  const name = file.replace(/^\d+\./u, '').replace(/\.json$/u, '');
  return TOP_LEVEL.has(name) ? name : `delegated/${name}`;
}

const TOP_LEVEL: ReadonlySet<string> = new Set(['root', 'timestamp', 'snapshot', 'targets']);
