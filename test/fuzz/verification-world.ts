/**
 * What honest repositories serve in two steps, in which everything happens that can: a first image,
 * then new roots with new online keys and an image of a delegated role.
 */
import type { Repo } from '../../agent/errors.ts';
import { UPTANE, type Format } from '../../agent/uptane/format.ts';
import { TUF } from '../../agent/uptane/tuf.ts';
import { verify, type Answer, type Verdict } from '../../agent/uptane/verify.ts';
import { canonical } from '../support/build-metadata.ts';
import { TestRepository } from '../support/test-repository.ts';
import { TufRepository } from '../support/tuf-repository.ts';
import { directorTarget, imageTarget, NOW, PRIMARY } from '../support/uptane-world.ts';
import { inTurn, seededKey, seededTufKey } from './seeded-keys.ts';

/** By `REPO/FILE` as served, or by `REPO/ROLE` as kept. */
export type Files = ReadonlyMap<string, Uint8Array>;

export interface HonestWorld {
  readonly name: string;
  readonly imageFormat: Format;
  /** After each of the two steps. */
  readonly served: readonly Files[];
  /** What a device can have kept: the first roots; all of the first step; all of the second. */
  readonly starts: readonly Files[];
  /** What honest keys signed, in canonical form, by `REPO/ROLE`. */
  readonly signed: ReadonlyMap<string, ReadonlySet<string>>;
  /** Every target that an honest world led to, see `targetText`. */
  readonly targets: ReadonlySet<string>;
}

const FIRST = 'fw-1.bin';
const SECOND = 'supplier/fw-2.bin';
const SUPPLIER = { name: 'supplier', paths: ['supplier/*'] };
const ONLINE = ['timestamp', 'snapshot'] as const;
const CUSTOM = { hardwareIds: [PRIMARY.hardwareId], targetFormat: 'BINARY' };

export function honestWorlds(): readonly HonestWorld[] {
  return [honestWorld(UPTANE, uptaneSteps()), honestWorld(TUF, tufSteps())];
}

/** As it is after both steps. */
export function tufRepository(): TufRepository {
  const repository = new TufRepository(inTurn(seededTufKey, 'image'));
  repository.listing = 'all';
  Array.from(tufSteps(repository));
  return repository;
}

/** Holds one conversation. */
export function converse(
  trusted: Files,
  imageFormat: Format,
  serve: (repo: Repo, file: string) => Answer,
  keep: (name: string, bytes: Uint8Array | undefined) => void,
): Verdict {
  const talk = verify({ trusted, inventory: [PRIMARY], now: NOW, imageFormat });
  let turn = talk.next();
  while (turn.done !== true) {
    const need = turn.value;
    if (need.need === 'fetch') {
      turn = talk.next(serve(need.repo, need.file));
    } else {
      keep(`${need.repo}/${need.role}`, need.bytes);
      turn = talk.next();
    }
  }
  return turn.value;
}

/** All that is said of each target. */
export function targetTexts({ targets }: Verdict): readonly string[] {
  return targets.map((target) =>
    canonical({ ...target, hashes: Object.fromEntries(target.hashes) }),
  );
}

export function signedPart(bytes: Uint8Array): { text: string; version: number } {
  const { signed } = JSON.parse(Buffer.from(bytes).toString()) as { signed: { version: number } };
  return { text: canonical(signed), version: signed.version };
}

/** `2.snapshot.json`, `delegations/supplier.json` to the role it is kept as. */
export function keptName(served: string): string {
  const [repo = '', ...path] = served.split('/');
  const name = (path.at(-1) ?? '').replace(/^\d+\./u, '').replace(/\.json$/u, '');
  return name === 'supplier' ? `${repo}/delegated/${name}` : `${repo}/${name}`;
}

type Served = Readonly<Record<Repo, Files>>;

function honestWorld(imageFormat: Format, steps: Iterable<Served>): HonestWorld {
  const served = Array.from(steps, named);
  const starts: Files[] = [firstRoots(served[0])];
  const targets = new Set<string>();
  for (const files of served) {
    const kept = new Map(starts.at(-1));
    const verdict = converse(kept, imageFormat, serving(files), (name, bytes) => {
      if (bytes === undefined) kept.delete(name);
      else kept.set(name, bytes);
    });
    for (const text of targetTexts(verdict)) targets.add(text);
    starts.push(kept);
  }
  const signed = new Map<string, Set<string>>();
  for (const [name, bytes] of served.flatMap((files) => [...files])) {
    const role = keptName(name);
    signed.set(role, (signed.get(role) ?? new Set<string>()).add(signedPart(bytes).text));
  }
  return { name: imageFormat.name, imageFormat, served, starts, signed, targets };
}

export function serving(files: Files): (repo: Repo, file: string) => Answer {
  return (repo, file) => files.get(`${repo}/${file}`);
}

function named(step: Served): Files {
  const files = new Map<string, Uint8Array>();
  for (const repo of ['director', 'image'] as const) {
    for (const [name, bytes] of step[repo]) files.set(`${repo}/${name}`, bytes);
  }
  return files;
}

function firstRoots(files: Files = new Map()): Files {
  const root = (repo: Repo): Uint8Array => files.get(`${repo}/1.root.json`) ?? new Uint8Array();
  return new Map([
    ['director/root', root('director')],
    ['image/root', root('image')],
  ]);
}

function* uptaneSteps(): Generator<Served> {
  const newKey = inTurn(seededKey, 'image');
  const image = new TestRepository(newKey);
  const director = directorSteps();
  image.targets = { [FIRST]: imageTarget(FIRST, [PRIMARY]) };
  image.publish();
  yield { director: next(director), image: new Map(image.served) };
  const keys = [newKey()];
  image.delegations = [{ ...SUPPLIER, keys }];
  image.addDelegated('supplier', { keys, targets: { [SECOND]: imageTarget(SECOND, [PRIMARY]) } });
  for (const role of ONLINE) image.keys[role] = [newKey()];
  image.publishRoot();
  image.publish();
  yield { director: next(director), image: new Map(image.served) };
}

function* tufSteps(image = new TufRepository(inTurn(seededTufKey, 'image'))): Generator<Served> {
  const newKey = inTurn(seededTufKey, 'image, later');
  const director = directorSteps();
  image.addTarget(FIRST, FIRST, 'targets', CUSTOM);
  image.publish();
  yield { director: next(director), image: new Map(image.served) };
  const keys = [newKey()];
  image.delegations = [{ ...SUPPLIER, keys }];
  image.addDelegated('supplier', { keys });
  image.addTarget(SECOND, SECOND, 'supplier', CUSTOM);
  for (const role of ONLINE) image.keys[role] = [newKey()];
  image.publishRoot();
  image.publish();
  yield { director: next(director), image: new Map(image.served) };
}

function* directorSteps(): Generator<Files, undefined> {
  const newKey = inTurn(seededKey, 'director');
  const director = new TestRepository(newKey);
  director.targets = { [FIRST]: directorTarget(FIRST, [PRIMARY]) };
  director.publish();
  yield new Map(director.served);
  director.targets = { [SECOND]: directorTarget(SECOND, [PRIMARY]) };
  for (const role of ONLINE) director.keys[role] = [newKey()];
  director.publishRoot();
  director.publish();
  yield new Map(director.served);
}

function next(steps: Generator<Files, undefined>): Files {
  return steps.next().value ?? new Map<string, Uint8Array>();
}
