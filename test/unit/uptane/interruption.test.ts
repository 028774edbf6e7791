/**
 * A conversation that ends between any two files that are kept, as when the power fails, goes on from
 * what was kept to the verdict that it would have had.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { Repo } from '../../../agent/errors.ts';
import { UPTANE, type Format } from '../../../agent/uptane/format.ts';
import { TUF } from '../../../agent/uptane/tuf.ts';
import { verify, type Verdict } from '../../../agent/uptane/verify.ts';
import { ed25519 } from '../../support/build-metadata.ts';
import { TestRepository } from '../../support/test-repository.ts';
import { ed25519Key } from '../../support/tuf-keys.ts';
import { TufRepository } from '../../support/tuf-repository.ts';
import { directorTarget, imageTarget, NOW, PRIMARY } from '../../support/uptane-world.ts';

type Files = Map<string, Uint8Array>;
type Served = Readonly<Record<Repo, ReadonlyMap<string, Uint8Array>>>;

const ONLINE = ['timestamp', 'snapshot'] as const;
const SUPPLIER = { name: 'supplier', paths: ['supplier/*'] };
const CUSTOM = { hardwareIds: [PRIMARY.hardwareId], targetFormat: 'BINARY' };

/** Both repositories in one of the formats, with what the scenarios do to them. */
abstract class Repositories {
  readonly director = new TestRepository();
  abstract readonly image: TestRepository | TufRepository;
  abstract readonly format: Format;

  release(filename: string): void {
    this.director.targets = { [filename]: directorTarget(filename, [PRIMARY]) };
    this.director.publish();
    this.addImage(filename);
    this.image.publish();
  }

  /** New online keys in both, twice in a row, so that roots are kept on the way. */
  rotate(): void {
    for (let times = 0; times < 2; times += 1) {
      for (const role of ONLINE) this.director.keys[role] = [ed25519()];
      this.director.publishRoot();
      this.rotateImage();
    }
  }

  get served(): Served {
    return { director: this.director.served, image: this.image.served };
  }

  protected abstract addImage(filename: string): void;
  protected abstract rotateImage(): void;
  abstract delegate(filename: string): void;
}

class UptaneRepositories extends Repositories {
  readonly image = new TestRepository();
  readonly format = UPTANE;

  protected addImage(filename: string): void {
    if (this.image.delegated.size > 0) return;
    this.image.targets[filename] = imageTarget(filename, [PRIMARY]);
  }

  protected rotateImage(): void {
    for (const role of ONLINE) this.image.keys[role] = [ed25519()];
    this.image.publishRoot();
  }

  delegate(filename: string): void {
    const keys = [ed25519()];
    this.image.delegations = [{ ...SUPPLIER, keys }];
    const targets = { [filename]: imageTarget(filename, [PRIMARY]) };
    this.image.addDelegated(SUPPLIER.name, { keys, targets });
  }
}

class TufRepositories extends Repositories {
  readonly image = new TufRepository();
  readonly format = TUF;

  protected addImage(filename: string): void {
    if (this.image.delegated.size === 0)
      this.image.addTarget(filename, filename, 'targets', CUSTOM);
  }

  protected rotateImage(): void {
    for (const role of ONLINE) this.image.keys[role] = [ed25519Key()];
    this.image.publishRoot();
  }

  delegate(filename: string): void {
    const keys = [ed25519Key()];
    this.image.delegations = [{ ...SUPPLIER, keys }];
    this.image.addDelegated(SUPPLIER.name, { keys });
    this.image.addTarget(filename, filename, SUPPLIER.name, CUSTOM);
  }
}

const FORMATS = { uptane: () => new UptaneRepositories(), tuf: () => new TufRepositories() };

/** @returns the image that is wanted at the end */
type Scenario = (repositories: Repositories, complete: () => void) => string;

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'first contact': (repositories) => {
    repositories.release('fw-1.bin');
    return 'fw-1.bin';
  },
  'an update': (repositories, complete) => {
    repositories.release('fw-1.bin');
    complete();
    repositories.release('fw-2.bin');
    return 'fw-2.bin';
  },
  'a rotation of roots': (repositories, complete) => {
    repositories.release('fw-1.bin');
    complete();
    repositories.rotate();
    repositories.release('fw-2.bin');
    return 'fw-2.bin';
  },
  'a rotation of roots that frees versions': (repositories, complete) => {
    repositories.image.version.timestamp = 1000;
    repositories.image.version.snapshot = 1000;
    repositories.release('fw-1.bin');
    complete();
    repositories.rotate();
    repositories.image.version.timestamp = 0;
    repositories.image.version.snapshot = 0;
    repositories.release('fw-2.bin');
    return 'fw-2.bin';
  },
  'a first delegation': (repositories, complete) => {
    repositories.release('fw-1.bin');
    complete();
    repositories.delegate('supplier/fw-2.bin');
    repositories.release('supplier/fw-2.bin');
    return 'supplier/fw-2.bin';
  },
  'a rotation and a delegation at first contact': (repositories) => {
    repositories.rotate();
    repositories.delegate('supplier/fw-1.bin');
    repositories.release('supplier/fw-1.bin');
    return 'supplier/fw-1.bin';
  },
};

describe('a conversation that is cut between any two kept files (P9, R5, R7)', () => {
  for (const [format, repositoriesIn] of Object.entries(FORMATS)) {
    for (const [what, scenario] of Object.entries(SCENARIOS)) {
      test(`${format}: ${what} goes on to the same verdict and the same files`, () => {
        const repositories = repositoriesIn();
        const before = firstRoots(repositories.served);
        const wanted = scenario(repositories, () => converse(repositories, before));
        const whole = new Map(before);
        const { verdict, keeps } = converse(repositories, whole);
        assert.equal(verdict?.targets[0]?.filename, wanted);
        assert.ok(keeps >= 6, `${String(keeps)} files are kept`);

        for (let cut = 0; cut < keeps; cut += 1) {
          const kept = new Map(before);
          assert.deepEqual(converse(repositories, kept, cut), { keeps: cut });
          expectSame(converse(repositories, kept).verdict, kept, `cut after ${String(cut)} files`);
        }

        const kept = new Map(before);
        for (let runs = 0; runs <= keeps; runs += 1) {
          const { verdict: last } = converse(repositories, kept, 1);
          if (last === undefined) continue;
          expectSame(last, kept, 'cut after each file');
          return;
        }
        assert.fail('one file at a time never gets to the end');

        function expectSame(last: Verdict | undefined, state: Files, where: string): void {
          assert.deepEqual(last, verdict, where);
          assert.deepEqual(sorted(state), sorted(whole), where);
        }
      });
    }
  }
});

/**
 * @param kept - changed on the way
 * @param cutAfter - how many times something can be kept or forgotten before the power fails
 * @returns no verdict after a power cut
 */
function converse(
  { served, format }: Repositories,
  kept: Files,
  cutAfter = Infinity,
): { verdict?: Verdict; keeps: number } {
  const trusted = new Map(kept);
  const talk = verify({ trusted, inventory: [PRIMARY], now: NOW, imageFormat: format });
  let keeps = 0;
  let turn = talk.next();
  while (turn.done !== true) {
    const need = turn.value;
    if (need.need === 'fetch') {
      turn = talk.next(served[need.repo].get(need.file));
      continue;
    }
    if (keeps === cutAfter) return { keeps };
    keeps += 1;
    const name = `${need.repo}/${need.role}`;
    if (need.bytes === undefined) kept.delete(name);
    else kept.set(name, need.bytes);
    turn = talk.next();
  }
  return { verdict: turn.value, keeps };
}

function firstRoots({ director, image }: Served): Files {
  const root = (files: ReadonlyMap<string, Uint8Array>): Uint8Array =>
    files.get('1.root.json') ?? new Uint8Array();
  return new Map([
    ['director/root', root(director)],
    ['image/root', root(image)],
  ]);
}

function sorted(files: Files): unknown {
  return [...files].sort(([a], [b]) => (a < b ? -1 : 1));
}
