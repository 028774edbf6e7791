/** Drives the plain TUF client against a repository over loopback, and looks at what it keeps. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { FailureCode, FailureDetails } from '../../agent/errors.ts';
import { parseInstant, type Instant } from '../../agent/uptane/time.ts';
import { runTufClient } from '../conformance/tuf-client/client.ts';
import { rejectsCode } from './expect-code.ts';
import { temporaryDirectory } from './temporary.ts';
import { TufRepository } from './tuf-repository.ts';
import { TufServer } from './tuf-server.ts';

export const TODAY = '2026-11-21T00:00:00Z';
const DAY_MS = 86_400_000;

/** What is kept, by file name. */
type Kept = Readonly<Record<string, string>>;

export class TufBench implements AsyncDisposable {
  readonly repository: TufRepository;
  readonly server: TufServer;
  readonly metadata: string;
  readonly targets: string;
  now: Instant = parseInstant(TODAY, 'now');
  readonly #directory: ReturnType<typeof temporaryDirectory>;
  readonly #root: string;

  private constructor(repository: TufRepository) {
    this.#directory = temporaryDirectory('tuf');
    const { path: directory } = this.#directory;
    this.repository = repository;
    this.server = new TufServer(repository);
    this.metadata = join(directory, 'metadata');
    this.targets = join(directory, 'targets');
    mkdirSync(this.targets);
    this.#root = join(directory, 'trusted-root.json');
  }

  /** A repository that is served, and a client that trusts its first root. */
  static async open(repository = new TufRepository()): Promise<TufBench> {
    const bench = new TufBench(repository);
    await bench.server.open();
    await bench.init(repository.served.get('1.root.json') ?? Buffer.from(''));
    return bench;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    this.#directory.remove();
  }

  async init(root: Uint8Array): Promise<void> {
    writeFileSync(this.#root, root);
    await runTufClient(['--metadata-dir', this.metadata, 'init', this.#root], this.now);
  }

  /** @returns what was asked for, without `metadata/` */
  async refresh(): Promise<readonly string[]> {
    return this.#run(['refresh']);
  }

  async download(...names: readonly string[]): Promise<readonly string[]> {
    const wanted = names.flatMap((name) => ['--target-name', name]);
    const from = ['--target-base-url', this.server.targetsUrl, '--target-dir', this.targets];
    return this.#run([...wanted, ...from, 'download']);
  }

  /**
   * Expects a refusal.
   *
   * @param kept - the files that may have been kept on the way; all others are as before
   */
  async refuses<C extends FailureCode>(
    code: C,
    details: FailureDetails[C],
    kept: readonly string[] = [],
  ): Promise<void> {
    const before = this.kept();
    await rejectsCode(this.refresh(), code, details);
    const others = (files: Kept): Kept =>
      Object.fromEntries(Object.entries(files).filter(([name]) => !kept.includes(name)));
    assert.deepEqual(others(this.kept()), others(before));
  }

  later(days: number): void {
    this.now = (this.now + days * DAY_MS) as Instant;
  }

  kept(): Kept {
    return Object.fromEntries(
      readdirSync(this.metadata).map((name) => [
        name,
        readFileSync(join(this.metadata, name), 'utf8'),
      ]),
    );
  }

  keptVersion(name: string): number {
    const document = JSON.parse(this.kept()[`${name}.json`] ?? '') as {
      signed: { version: number };
    };
    return document.signed.version;
  }

  downloaded(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      readdirSync(this.targets).map((name) => [
        name,
        readFileSync(join(this.targets, name), 'utf8'),
      ]),
    );
  }

  async #run(args: readonly string[]): Promise<readonly string[]> {
    this.server.requests = [];
    const common = ['--metadata-dir', this.metadata, '--metadata-url', this.server.metadataUrl];
    await runTufClient([...common, ...args], this.now);
    return this.server.requests.map((path) => path.replace(/^metadata\//u, ''));
  }
}

/** An instant some days from the day on which tests begin. */
export function inDays(days: number): string {
  return new Date(Date.parse(TODAY) + days * DAY_MS).toISOString().replace('.000Z', 'Z');
}
