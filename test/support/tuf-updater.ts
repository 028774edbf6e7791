/** The Updater of tuf-js over a repository in memory: another implementation's verdict. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { temporaryDirectory } from './temporary.ts';

interface Served {
  readonly served: ReadonlyMap<string, Uint8Array>;
}

const BASE = 'http://repository.invalid/metadata';

/** What is used of tuf-js, whose own declarations need packages that it does not install. */
interface TufJs {
  readonly BaseFetcher: new () => object;
  readonly Updater: new (options: object) => {
    refresh(): Promise<void>;
    getTargetInfo(path: string): Promise<{ hashes: Record<string, string> } | undefined>;
  };
}
interface TufJsErrors {
  readonly DownloadHTTPError: new (message: string, statusCode: number) => Error;
}

const require = createRequire(import.meta.url);
const { BaseFetcher, Updater } = require('tuf-js') as TufJs;
const { DownloadHTTPError } = require('tuf-js/dist/error.js') as TufJsErrors;

class MemoryFetcher extends BaseFetcher {
  readonly #repository: Served;

  constructor(repository: Served) {
    super();
    this.#repository = repository;
  }

  /** Called by its base class. */
  fetch(url: string): Promise<ReadableStream<Uint8Array>> {
    const file = decodeURIComponent(url.slice(BASE.length + 1));
    const bytes = this.#repository.served.get(file);
    if (bytes === undefined) return Promise.reject(new DownloadHTTPError('absent', 404));
    return Promise.resolve(new Blob([Buffer.from(bytes)]).stream());
  }
}

export class TufUpdater implements AsyncDisposable {
  readonly #directory = temporaryDirectory('tuf-js');
  readonly #metadata: string;
  readonly #fetcher: MemoryFetcher;
  readonly #config: object;

  /** @param config - of tuf-js, where its own limits are too small */
  constructor(repository: Served, config: object = {}) {
    this.#config = config;
    this.#metadata = join(this.#directory.path, 'metadata');
    this.#fetcher = new MemoryFetcher(repository);
    mkdirSync(this.#metadata);
    const root = repository.served.get('1.root.json') ?? '';
    writeFileSync(join(this.#metadata, 'root.json'), root);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#directory.remove();
    return Promise.resolve();
  }

  /** @returns `refused`, `nothing`, or the digest of the target */
  async judge(filename: string): Promise<string> {
    try {
      const updater = new Updater({
        metadataDir: this.#metadata,
        metadataBaseUrl: BASE,
        fetcher: this.#fetcher,
        config: this.#config,
      });
      await updater.refresh();
      const target = await updater.getTargetInfo(filename);
      return target?.hashes['sha256'] ?? 'nothing';
    } catch {
      return 'refused';
    }
  }
}
