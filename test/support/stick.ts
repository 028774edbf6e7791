/** A stick with lockboxes, signed by the repositories of a `World`; every file can be replaced. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { Repo } from '../../agent/errors.ts';
import type { Answer } from '../../agent/uptane/verify.ts';
import {
  ed25519,
  envelope,
  fileInfo,
  FUTURE,
  hashesOf,
  keysObject,
  type Body,
  type Key,
} from './build-metadata.ts';
import type { World } from './uptane-world.ts';

interface LockboxFile {
  version: number;
  expires: string;
  targets: Record<string, Body>;
  custom?: Body;
}

const ROLES = ['offline-snapshot', 'offline-updates'] as const;
type Role = (typeof ROLES)[number];
type Edit = (body: Body) => Body;
const asIs: Edit = (body) => body;

export class Stick {
  readonly world: World;
  /** By `REPO/FILE`, as verification asks for them. */
  readonly files = new Map<string, Uint8Array>();
  readonly keys: Record<Role, readonly Key[]> = {
    'offline-snapshot': [ed25519()],
    'offline-updates': [ed25519()],
  };
  readonly lockboxes = new Map<string, LockboxFile>();
  /** By SHA-256. */
  readonly images = new Map<string, string | Uint8Array>();
  version = 0;
  expires = FUTURE;

  constructor(world: World) {
    this.world = world;
  }

  /** The Director's next root, with both roles or those of `roles`. */
  publishRoot(roles: readonly Role[] = ROLES): void {
    this.world.director.publishRoot((body) => ({
      ...body,
      keys: { ...(body['keys'] as Body), ...keysObject(ROLES.flatMap((role) => this.keys[role])) },
      roles: {
        ...(body['roles'] as Body),
        ...Object.fromEntries(
          roles.map((role) => [
            role,
            { keyids: this.keys[role].map(({ id }) => id), threshold: this.keys[role].length },
          ]),
        ),
      },
    }));
  }

  /** The next version of a lockbox with these images, whose content is their name. */
  pack(
    name: string,
    images: readonly string[],
    hardwareIds: readonly string[],
    more: Body = {},
  ): void {
    const version = (this.lockboxes.get(name)?.version ?? 0) + 1;
    const targets = Object.fromEntries(
      images.map((image) => [image, { ...fileInfo(image), custom: { hardwareIds, ...more } }]),
    );
    for (const image of images) this.images.set(hashesOf(image).sha256, image);
    this.lockboxes.set(name, { version, expires: FUTURE, targets });
  }

  /** Writes all of it anew, as the repositories are now. */
  write(edit: Edit = asIs, editLockbox: Edit = asIs): this {
    this.files.clear();
    for (const repo of ['director', 'image'] as const) this.copy(repo);
    for (const name of this.lockboxes.keys()) this.writeLockbox(name, editLockbox);
    this.version += 1;
    this.writeSnapshot(edit);
    return this;
  }

  writeLockbox(name: string, edit: Edit = asIs): void {
    const { version, expires, targets, custom } = this.#lockbox(name);
    const body = { _type: 'Offline-Updates', version, expires, targets, ...(custom && { custom }) };
    this.files.set(`director/${name}.json`, envelope(edit(body), this.keys['offline-updates']));
  }

  writeSnapshot(edit: Edit = asIs): void {
    const meta = Object.fromEntries(
      [...this.lockboxes].map(([name, { version }]) => {
        const bytes = this.files.get(`director/${name}.json`) ?? new Uint8Array();
        return [`${name}.json`, { version, length: bytes.byteLength, hashes: hashesOf(bytes) }];
      }),
    );
    const { version, expires } = this;
    const body = { _type: 'Offline-Snapshot', version, expires, meta };
    this.files.set(
      'director/offline-snapshot.json',
      envelope(edit(body), this.keys['offline-snapshot']),
    );
  }

  /** Roots of both, and of the Image repository all but its Timestamp. */
  copy(repo: Repo): void {
    for (const [file, bytes] of this.world[repo].served) {
      const isRoot = file.endsWith('.root.json');
      if (isRoot || (repo === 'image' && file !== 'timestamp.json')) {
        this.files.set(`${repo}/${file}`, bytes);
      }
    }
  }

  readonly serve = (repo: Repo, file: string): Answer => this.files.get(`${repo}/${file}`);

  /** As a directory, in the layout of PURE-2. */
  writeTo(directory: string): void {
    const put = (path: string, content: Uint8Array | string): void => {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), content);
    };
    mkdirSync(join(directory, 'images'), { recursive: true });
    for (const [name, bytes] of this.files) {
      const path = name.replace(/^image\//u, 'image-repo/').replace('/delegations/', '/');
      put(join('metadata', path), bytes);
    }
    for (const [sha256, content] of this.images) put(join('images', sha256), content);
  }

  #lockbox(name: string): LockboxFile {
    const lockbox = this.lockboxes.get(name);
    if (lockbox === undefined) throw new Error(`no lockbox ${name}`);
    return lockbox;
  }
}
