/**
 * What it costs to download, prove and write an image; what `curl | tee | openssl dgst` takes, and
 * `rauc install` of a bundle with that image in it, downloaded by curl.
 *
 *     node test/bench/install.bench.ts [MEBIBYTES] [ROUNDS]
 *
 * One server, HTTPS with mutual TLS over loopback; all end durable and take turns. Ours also reads back
 * what it wrote, which is shown on its own. Prints medians, of ratios that of each round; judges nothing.
 */
import { execFileSync, fork, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';

import { makeAuthority, makeLeaf } from '../support/certificates.ts';
import { inChild } from '../support/in-child.ts';
import type { Bench, Measured } from '../support/install-bench-driver.ts';
import { makeBundle, makeVendor } from '../support/rauc-bundle.ts';
import { RaucDevice } from '../support/rauc-device.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const MEBIBYTES = Number(process.argv[2] ?? 1024);
const ROUNDS = Number(process.argv[3] ?? 3);
const MEBIBYTE = 1024 ** 2;
const SUPPORT = join(import.meta.dirname, '../support');
const DRIVER = join(SUPPORT, 'install-bench-driver.ts');

/** Of the kernel's clock, in which it counts what a process takes. */
const TICKS_PER_SECOND = 100;

interface Timed {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

interface Round {
  readonly piped: Timed;
  readonly rauc: Timed;
  readonly ours: Measured;
  /** Of this process, which does nothing meanwhile: what the machine is to blame for. */
  readonly idleP99Ms: number;
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

function timed(script: string, env = process.env): Timed & { readonly said: string } {
  const args = ['-f', '%e %U %S', 'sh', '-ec', script];
  const { status, stdout, stderr } = spawnSync('/usr/bin/time', args, { encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  const [seconds = 0, user = 0, system = 0] = (stderr.trim().split('\n').at(-1) ?? '')
    .split(' ')
    .map(Number);
  return { seconds, cpuSeconds: user + system, said: stdout };
}

function curl({ directory, url }: Bench, file: string): string {
  const at = (name: string): string => join(directory, name);
  const tls = `--cacert ${at('gateway-ca.pem')} --cert ${at('device.pem')} --key ${at('device.key')}`;
  return `curl -sS ${tls} ${url}/targets/${file}`;
}

function pipe(bench: Bench): Timed {
  const slot = join(bench.directory, 'piped');
  rmSync(slot, { force: true });
  const script = `${curl(bench, 'image')} | tee ${slot} | openssl dgst -sha256; sync -d ${slot}`;
  const { said, ...taken } = timed(script);
  if (!said.includes(bench.sha256)) throw new Error(`the pipeline got something else: ${said}`);
  return taken;
}

async function openRauc(directory: string): Promise<RaucDevice> {
  const vendor = makeVendor(directory, 'vendor');
  const image = readFileSync(join(directory, 'targets/image'));
  const bundle = makeBundle(directory, vendor, { image, packing: '-noD' });
  writeFileSync(join(directory, 'targets/bundle'), bundle);
  const slots = { A: join(directory, 'rauc-a'), B: join(directory, 'rauc-b') };
  for (const slot of Object.values(slots)) {
    writeFileSync(slot, '');
    truncateSync(slot, image.byteLength);
  }
  const factory = Buffer.from('factory');
  const device = new RaucDevice(join(directory, 'rauc'), {
    keyring: vendor.certificate,
    factory,
    slots,
  });
  await device.startBus();
  // The service is there before anybody is timed.
  device.mark('good', 'booted');
  return device;
}

/** The image alone is what is written; the bundle's signature is what is verified. */
function installByRauc(bench: Bench, device: RaucDevice): Timed {
  const bundle = join(bench.directory, 'bundle');
  rmSync(bundle, { force: true });
  const before = serviceSeconds(device);
  const script = `${curl(bench, 'bundle')} -o ${bundle}; rauc install ${bundle}; sync -d ${device.slots.B}`;
  const { seconds, cpuSeconds } = timed(script, {
    ...process.env,
    DBUS_SYSTEM_BUS_ADDRESS: device.address,
  });
  const written = `cmp ${device.slots.B} ${join(bench.directory, 'targets/image')}`;
  execFileSync('sh', ['-c', written], { stdio: 'inherit' });
  return { seconds, cpuSeconds: cpuSeconds + serviceSeconds(device) - before };
}

/** What the service has taken from the processor. Source: proc_pid_stat(5). */
function serviceSeconds(device: RaucDevice): number {
  const pid = readFileSync(join(device.directory, 'rauc.pid'), 'utf8').trim();
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /u, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
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
  const rauc = await openRauc(directory);
  const args = [DRIVER, 'serve', JSON.stringify({ directory })];
  const server = fork(join(SUPPORT, 'child-main.ts'), args, { stdio: 'inherit' });
  try {
    const [{ port }] = (await once(server, 'message')) as [{ port: number }];
    const bench = { directory, url: `https://localhost:${String(port)}`, sha256 };
    const rounds: Round[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const piped = pipe(bench);
      const byRauc = installByRauc(bench, rauc);
      const idle = monitorEventLoopDelay({ resolution: 1 });
      idle.enable();
      const ours = await install(bench);
      idle.disable();
      rounds.push({ piped, rauc: byRauc, ours, idleP99Ms: idle.percentile(99) / 1e6 });
    }
    print(rounds);
  } finally {
    server.disconnect();
    await rauc.close();
  }
}

function print(rounds: readonly Round[]): void {
  const of = (read: (round: Round) => number): number => median(rounds.map(read));
  const receive = ({ ours }: Round): number => ours.receiveSeconds;
  const whole = ({ ours }: Round): number => ours.receiveSeconds + ours.proveSeconds;
  const rate = (seconds: number): string => `${(MEBIBYTES / seconds).toFixed(0)} MiB/s`;
  const cost = (cpuSeconds: number): string =>
    `${((cpuSeconds * 1024) / MEBIBYTES).toFixed(2)} CPU s per GiB`;
  const against = (their: (round: Round) => number, our: (round: Round) => number): string => {
    const ratios = rounds.map((round) => their(round) / our(round));
    const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
    return `${median(ratios).toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
  };
  const curlSeconds = ({ piped }: Round): number => piped.seconds;
  const raucSeconds = ({ rauc }: Round): number => rauc.seconds;
  const load = loadavg().map((one) => one.toFixed(1));
  const lines = [
    ['image', `${String(MEBIBYTES)} MiB, ${String(ROUNDS)} rounds, load ${load.join(' ')}`],
    [
      'curl | tee | openssl, synced',
      `${rate(of(curlSeconds))}, ${cost(of(({ piped }) => piped.cpuSeconds))}`,
    ],
    [
      'curl, rauc install, synced',
      `${rate(of(raucSeconds))}, ${cost(of(({ rauc }) => rauc.cpuSeconds))}`,
    ],
    ['ab-slot, synced', rate(of(receive))],
    [
      'ab-slot, synced and read back',
      `${rate(of(whole))}, ${cost(of(({ ours }) => ours.cpuSeconds))}`,
    ],
    ['throughput against curl', against(curlSeconds, receive)],
    ['  with reading back', against(curlSeconds, whole)],
    ['  against rauc, with reading back', against(raucSeconds, whole)],
    ['memory at its peak', `${(of(({ ours }) => ours.peakBytes) / MEBIBYTE).toFixed(0)} MiB more`],
    [
      'event loop, p99 delay',
      `${of(({ ours }) => ours.p99Ms).toFixed(1)} ms; of an idle process ${of(({ idleP99Ms }) => idleP99Ms).toFixed(1)} ms`,
    ],
  ];
  for (const [what = '', value = ''] of lines) process.stdout.write(`${what.padEnd(36)}${value}\n`);
}

execFileSync('curl', ['--version'], { stdio: 'ignore' });
const directory = temporaryDirectory('install-bench');
try {
  await main(directory.path);
} finally {
  directory.remove();
}
