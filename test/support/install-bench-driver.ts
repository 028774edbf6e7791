/** The two sides of the installer's bench, each in a process of its own. */
import {
  closeSync,
  createReadStream,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createSecureContext } from 'node:tls';

import { HttpClient } from '../../agent/io/http.ts';
import { HttpRepositories } from '../../agent/io/repositories.ts';
import { trust } from '../../agent/uptane/trust.ts';
import { ignore, openAbSlot } from './ab-slot.ts';
import { bootBoard } from './boot-loader.ts';
import { peakBytesOf } from './peak-memory.ts';

export interface Bench {
  readonly directory: string;
  readonly url: string;
  readonly sha256: string;
}

export interface Measured {
  readonly receiveSeconds: number;
  readonly proveSeconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
  readonly p99Ms: number;
}

const CHUNK_BYTES = 1024 * 1024;

/** Serves `directory/targets/*` to clients with a certificate; says its port, and ends with its parent. */
export async function serve({ directory }: { readonly directory: string }): Promise<never> {
  const read = (name: string): Buffer => readFileSync(join(directory, name));
  const [cert, key, ca] = [read('localhost.pem'), read('localhost.key'), read('gateway-ca.pem')];
  const mutual = { requestCert: true, rejectUnauthorized: true };
  const server = createServer({ cert, key, ca, ...mutual }, (request, response) => {
    const path = join(directory, request.url ?? '');
    response.writeHead(200, { 'content-length': statSync(path).size });
    createReadStream(path, { highWaterMark: CHUNK_BYTES }).pipe(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.send?.({ port: (server.address() as AddressInfo).port });
  process.on('disconnect', () => process.exit(0));
  return new Promise<never>(ignore);
}

/** Installs the image as the agent does, from the network to a slot that was proven. */
export async function install({ directory, url, sha256 }: Bench): Promise<Measured> {
  const at = (name: string): string => join(directory, name);
  const read = (name: string): Buffer => readFileSync(at(name));
  const secureContext = createSecureContext({
    ca: read('gateway-ca.pem'),
    cert: read('device.pem'),
    key: read('device.key'),
  });
  const http = new HttpClient({ secureContext, timeoutMs: 10_000, userAgent: 'bench' });
  const urls = { director: url, image: url, events: undefined };
  const rate = { bytesPerSecond: 1024, windowMs: 30_000 };
  const repositories = new HttpRepositories(http, urls, rate);
  const target = trust({
    ecu: 'ecu',
    hardwareId: 'board',
    filename: 'image',
    lengthBytes: statSync(at('targets/image')).size,
    hashes: new Map([['sha256', sha256]]),
  });
  const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
  const slots = { a: at('slot-a'), b: at('slot-b') };
  writeFileSync(slots.a, '');
  closeSync(openSync(slots.b, 'a'));
  bootBoard(board);
  const installer = openAbSlot(slots, board);
  await installer.describe();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const cpu = process.cpuUsage();
  let [receiveSeconds, proveSeconds] = [0, 0];
  delay.enable();
  const peakBytes = await peakBytesOf(async () => {
    const start = performance.now();
    const open = (offset: number): AsyncIterable<Uint8Array> =>
      repositories.openImage(target, offset);
    await installer.receive(target, open, ignore);
    receiveSeconds = (performance.now() - start) / 1000;
    await installer.prove(target, ignore);
    proveSeconds = (performance.now() - start) / 1000 - receiveSeconds;
  });
  delay.disable();
  const { user, system } = process.cpuUsage(cpu);
  await http.close();
  const p99Ms = delay.percentile(99) / 1e6;
  return { receiveSeconds, proveSeconds, cpuSeconds: (user + system) / 1e6, peakBytes, p99Ms };
}
