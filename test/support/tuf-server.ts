/** Serves a TUF repository over loopback, and remembers what was asked for. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { TufRepository } from './tuf-repository.ts';

export class TufServer {
  /** Every path asked for, percent-decoded: `metadata/2.root.json`, `targets/…`. */
  requests: string[] = [];
  /** Answers that go before what the repository has, by path. */
  readonly faults = new Map<string, (response: ServerResponse) => void>();
  readonly #repository: TufRepository;
  readonly #server = createServer((request, response) => {
    this.#answer(decodeURIComponent((request.url ?? '/').slice(1)), response);
  });

  constructor(repository: TufRepository) {
    this.#repository = repository;
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get metadataUrl(): string {
    return `${this.#origin}/metadata/`;
  }

  get targetsUrl(): string {
    return `${this.#origin}/targets/`;
  }

  get #origin(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${String(port)}`;
  }

  #answer(path: string, response: ServerResponse): void {
    this.requests.push(path);
    const fault = this.faults.get(path);
    if (fault !== undefined) {
      fault(response);
      return;
    }
    const { served, files } = this.#repository;
    const [folder, name] = [path.split('/', 1)[0], path.slice(path.indexOf('/') + 1)];
    const bytes = folder === 'metadata' ? served.get(name) : files.get(name);
    response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
  }
}
