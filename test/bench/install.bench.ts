/**
 * What it costs to download, prove and write an image, and what `curl | tee | openssl dgst` takes.
 *
 *     node test/bench/install.bench.ts [MEBIBYTES] [ROUNDS]
 *
 * One server, HTTPS with mutual TLS over loopback; both clients end durable and take turns. Ours also
 * reads back what it wrote, which is shown on its own. Prints medians; judges nothing.
 */
import { execFileSync, fork, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';

import { makeAuthority, makeLeaf } from '../support/certificates.ts';
import { inChild } from '../support/in-child.ts';
import type { Bench, Measured } from '../support/install-bench-driver.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const MEBIBYTES = Number(process.argv[2] ?? 1024);
const ROUNDS = Number(process.argv[3] ?? 3);
const MEBIBYTE = 1024 ** 2;
const SUPPORT = join(import.meta.dirname, '../support');
const DRIVER = join(SUPPORT, 'install-bench-driver.ts');

interface Piped {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

function makeImage(path: string): string {
  const hash = createHash('sha256');
  const chunk = randomBytes(MEBIBYTE);
  const file = openSync(path, 'w');
  for (let at = 0; at < MEBIBYTES; at += 1) {
    chunk.writeUInt32LE(at);
    hash.update(chunk);
    writeSync(file, chunk);
  }
  closeSync(file);
  return hash.digest('hex');
}

function pipe({ directory, url, sha256 }: Bench): Piped {
  const at = (name: string): string => join(directory, name);
  const slot = at('piped');
  rmSync(slot, { force: true });
  const tls = `--cacert ${at('gateway-ca.pem')} --cert ${at('device.pem')} --key ${at('device.key')}`;
  const script = `curl -sS ${tls} ${url}/targets/image | tee ${slot} | openssl dgst -sha256 && sync -d ${slot}`;
  const timed = ['-f', '%e %U %S', 'sh', '-c', script];
  const { stdout, stderr } = spawnSync('/usr/bin/time', timed, { encoding: 'utf8' });
  if (!stdout.includes(sha256)) throw new Error(`the pipeline got something else: ${stderr}`);
  const [seconds = 0, user = 0, system = 0] = stderr.trim().split(' ').map(Number);
  return { seconds, cpuSeconds: user + system };
}

async function install(bench: Bench): Promise<Measured> {
  rmSync(join(bench.directory, 'marker'), { force: true });
  rmSync(join(bench.directory, 'slot-b'), { force: true });
  const { value, text } = await inChild(DRIVER, 'install', bench, {});
  if (typeof value !== 'object') throw new Error(text);
  return value as Measured;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function main(directory: string): Promise<void> {
  const authority = makeAuthority(directory, 'gateway');
  const alternativeNames = 'DNS:localhost,IP:127.0.0.1';
  makeLeaf(directory, authority, { commonName: 'localhost', alternativeNames });
  makeLeaf(directory, authority, { commonName: 'device' });
  mkdirSync(join(directory, 'targets'));
  const sha256 = makeImage(join(directory, 'targets/image'));
  const args = [DRIVER, 'serve', JSON.stringify({ directory })];
  const server = fork(join(SUPPORT, 'child-main.ts'), args, { stdio: 'inherit' });
  try {
    const [{ port }] = (await once(server, 'message')) as [{ port: number }];
    const bench = { directory, url: `https://localhost:${String(port)}`, sha256 };
    const ours: Measured[] = [];
    const theirs: Piped[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      theirs.push(pipe(bench));
      ours.push(await install(bench));
    }
    print(ours, theirs);
  } finally {
    server.disconnect();
  }
}

function print(ours: readonly Measured[], theirs: readonly Piped[]): void {
  const of = (name: keyof Measured): number => median(ours.map((one) => one[name]));
  const curl = median(theirs.map(({ seconds }) => seconds));
  const curlCpu = median(theirs.map(({ cpuSeconds }) => cpuSeconds));
  const rate = (seconds: number): string => `${(MEBIBYTES / seconds).toFixed(0)} MiB/s`;
  const perGibibyte = (seconds: number): string => ((seconds * 1024) / MEBIBYTES).toFixed(2);
  const receive = of('receiveSeconds');
  const lines = [
    [
      'image',
      `${String(MEBIBYTES)} MiB, ${String(ROUNDS)} rounds, load ${loadavg()
        .map((load) => load.toFixed(1))
        .join(' ')}`,
    ],
    ['curl | tee | openssl, synced', `${rate(curl)}, ${perGibibyte(curlCpu)} CPU s per GiB`],
    ['ab-slot, synced', rate(receive)],
    [
      'ab-slot, synced and read back',
      `${rate(receive + of('proveSeconds'))}, ${perGibibyte(of('cpuSeconds'))} CPU s per GiB`,
    ],
    [
      'throughput against curl',
      `${(curl / receive).toFixed(2)} (with reading back ${(curl / (receive + of('proveSeconds'))).toFixed(2)})`,
    ],
    ['memory at its peak', `${(of('peakBytes') / MEBIBYTE).toFixed(0)} MiB more`],
    ['event loop, p99 delay', `${of('p99Ms').toFixed(1)} ms`],
  ];
  for (const [what = '', value = ''] of lines) process.stdout.write(`${what.padEnd(32)}${value}\n`);
}

execFileSync('curl', ['--version'], { stdio: 'ignore' });
const directory = temporaryDirectory('install-bench');
try {
  await main(directory.path);
} finally {
  directory.remove();
}
