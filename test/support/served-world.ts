/** Both repositories of a world over loopback HTTP, with whatever a web server does wrong. */
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

import type { World } from './uptane-world.ts';

export class ServedWorld {
  world: World;
  /** Every path asked for, percent-decoded: `director/1.root.json`, `image/targets/fw-1.bin`. */
  readonly requests: string[] = [];
  /** Answers that go before what the repositories have, by path. */
  readonly faults = new Map<string, (response: ServerResponse) => void>();
  /** Images, by the path below `image/targets/`. */
  readonly images = new Map<string, string>();
  readonly #server: Server;
  readonly #scheme: string;

  /** @param tls - certificate and key in PEM; without, plain HTTP */
  constructor(world: World, tls?: { cert: string; key: string }) {
    this.world = world;
    const listener: RequestListener = (request, response) => {
      this.#answer(decodeURIComponent((request.url ?? '/').slice(1)), response);
    };
    this.#server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
    this.#scheme = tls === undefined ? 'http' : 'https';
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  url(repo: 'director' | 'image'): string {
    const { port } = this.#server.address() as AddressInfo;
    return `${this.#scheme}://127.0.0.1:${String(port)}/${repo}`;
  }

  #answer(path: string, response: ServerResponse): void {
    this.requests.push(path);
    const fault = this.faults.get(path);
    if (fault !== undefined) {
      fault(response);
      return;
    }
    const [repo, name] = [path.split('/', 1)[0], path.slice(path.indexOf('/') + 1)];
    const { served } = this.world[repo === 'director' ? 'director' : 'image'];
    const found = served.get(name) ?? this.images.get(name.replace(/^targets\//u, ''));
    response.writeHead(found === undefined ? 404 : 200).end(found);
  }
}
