/**
 * The Image repository: which images exist, under which role, for which hardware.
 *
 * State is one file, `image/repository.json`, replaced whole: keys, root chain, images and the signed
 * set always belong together, whenever the process dies.
 */
import { join } from 'node:path';

import { Refusal } from './failure.ts';
import type { ImageFiles } from './state/image-files.ts';
import {
  contentOf,
  isUnsafeName,
  isUnsafeRole,
  type Delegation,
  type Image,
} from './metadata/image-content.ts';
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
import { generateKey } from './signing.ts';
import type { Settings, SettingsFile } from './state/settings.ts';
import {
  makeDirectory,
  readIfThere,
  readState,
  writeDurably,
  writeState,
  type Access,
} from './state/state-file.ts';

interface RepositoryState {
  readonly trust: RootOfTrust;
  readonly images: readonly Image[];
  readonly delegations: readonly Delegation[];
  readonly issued?: IssuedSet;
}

export class ImageRepo {
  readonly files: ImageFiles;
  readonly #directory: string;
  readonly #access: Access;
  readonly #settings: SettingsFile;
  #state: RepositoryState;
  #content: Content;

  constructor(directory: string, files: ImageFiles, settings: SettingsFile, access: Access) {
    this.#access = access;
    if (access === 'write') makeDirectory(directory, 0o755);
    this.files = files;
    this.#directory = directory;
    this.#settings = settings;
    const stored = readState(this.#path()) as RepositoryState | undefined;
    this.#state = stored ?? firstState(settings.current);
    this.#content = contentOf(this.#state);
    if (access === 'read') return;
    this.#save(this.#state);
    this.issued(0);
  }

  /** Another process has changed it. */
  reload(): void {
    this.#state = readState(this.#path()) as RepositoryState;
    this.#content = contentOf(this.#state);
  }

  get trust(): RootOfTrust {
    return this.#state.trust;
  }

  get images(): readonly Image[] {
    return this.#state.images;
  }

  get delegations(): readonly Delegation[] {
    return this.#state.delegations;
  }

  findImage(filename: string): Image | undefined {
    return this.#state.images.find((image) => image.filename === filename);
  }

  /**
   * The signed set, signed anew first where it is due.
   *
   * @param floor - highest version that a fault has sent out; honest versions stay above it
   */
  issued(floor: number): IssuedSet {
    const content = this.#content;
    const issuer = this.issuer(floor);
    const before = this.#state.issued;
    const from = before === undefined ? 'targets' : levelDue(before, content, issuer);
    // Who signs is one process: two would give two files one version.
    if (before !== undefined && (from === undefined || this.#access === 'read')) return before;
    const issued = issueSet(before, content, issuer, from ?? 'targets');
    this.#save({ ...this.#state, issued });
    return issued;
  }

  /** Signs `level` and what follows it anew, though nothing has changed. */
  refresh(level: Level, floor: number): IssuedSet {
    const issuer = this.issuer(floor);
    const issued = issueSet(this.#state.issued, this.#content, issuer, level);
    this.#save({ ...this.#state, issued });
    return issued;
  }

  issuer(floor: number): Issuer {
    const { validitySeconds: validity } = this.#settings.current;
    const { keys, dialect } = this.#state.trust;
    return { keys, dialect, validity, nowMs: Date.now(), floor };
  }

  /**
   * Refuses a name or a role that no image can have, before its bytes are copied.
   *
   * @throws Refusal 400 `image_name` · 404 `role_not_found`
   */
  verifyPlace(filename: string, role: string | undefined): void {
    if (isUnsafeName(filename)) {
      const want = '1 to 254 characters, relative, no "..", no control characters';
      throw new Refusal(400, 'image_name', want);
    }
    if (role !== undefined) this.#role(role);
  }

  /**
   * Adds an image; the same one again changes nothing.
   *
   * @throws Refusal as `verifyPlace`, and 409 `image_exists` for other content under a known name, or the
   *   same that is to be encrypted now or no more
   */
  add(image: Image): void {
    this.verifyPlace(image.filename, image.role);
    const known = this.findImage(image.filename);
    if (known !== undefined) {
      const isSame = known.sha256 === image.sha256 && known.role === image.role;
      if (isSame && known.encrypt === image.encrypt) return;
      const what = isSame
        ? `published ${known.encrypt === true ? '' : 'un'}encrypted`
        : 'published with other content';
      throw new Refusal(409, 'image_exists', `${image.filename} is ${what}; choose another name`);
    }
    this.#save({ ...this.#state, images: [...this.#state.images, image] });
    this.issued(0);
  }

  /** Adds a delegated role to the end of the list, with a key of its own. */
  delegate(wanted: Pick<Delegation, 'name' | 'paths' | 'terminating'>): Delegation {
    const taken = this.#state.delegations.some(({ name }) => name === wanted.name);
    if (taken) throw new Refusal(409, 'role_exists', `there is a role ${wanted.name}`);
    if (isUnsafeRole(wanted.name)) {
      throw new Refusal(400, 'role_name', '1 to 50 of a-z A-Z 0-9 _ - . and not a top-level role');
    }
    const keys = { threshold: 1, keys: [generateKey(this.#settings.current.keyType)] };
    const delegation = { ...wanted, keys };
    this.#save({ ...this.#state, delegations: [...this.#state.delegations, delegation] });
    this.issued(0);
    return delegation;
  }

  rotate(rotation: Rotation): void {
    const expires = expiryText(Date.now(), this.#settings.current.validitySeconds.root);
    this.#save({ ...this.#state, trust: rotateKeys(this.#state.trust, rotation, expires) });
    this.issued(0);
  }

  #role(name: string): Delegation {
    const role = this.#state.delegations.find((one) => one.name === name);
    if (role === undefined)
      throw new Refusal(404, 'role_not_found', `no delegated role ${name}; add it first`);
    return role;
  }

  #path(): string {
    return join(this.#directory, 'repository.json');
  }

  #save(state: RepositoryState): void {
    writeState(this.#path(), state);
    const { images, delegations, trust } = this.#state;
    this.#state = state;
    const isSame =
      state.images === images && state.delegations === delegations && state.trust === trust;
    if (!isSame) this.#content = contentOf(state);
    writeRoots(this.#directory, state.trust);
  }
}

/** Copies of the root chain beside the state, for factories that pin `1.root.json`. */
export function writeRoots(directory: string, trust: RootOfTrust): void {
  for (const [at, text] of trust.roots.entries()) {
    const path = join(directory, `${String(at + 1)}.root.json`);
    if (readIfThere(path) === text) continue;
    writeDurably(path, text, 0o644);
  }
}

function firstState({ keyType, imageDialect, validitySeconds }: Settings): RepositoryState {
  const expires = expiryText(Date.now(), validitySeconds.root);
  return { trust: createRootOfTrust(keyType, expires, imageDialect), images: [], delegations: [] };
}
