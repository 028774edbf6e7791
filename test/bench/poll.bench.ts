/**
 * What a poll and an update cost a device and its server, beside what aktualizr was measured to take.
 *
 *     node test/bench/poll.bench.ts [POLLS]
 *
 * The agent is a process with its keys in the emulated token, installing one file; the server is the
 * mock Director. Bytes are the payload of TCP, so TLS is in them. Durable writes are counted by strace,
 * processor time by the kernel in rounds without it. Prints; judges nothing.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { createRequest } from '../director/simulated/device.ts';
import { pollNow } from '../support/poll-now.ts';
import { startRelay, type Relay } from '../support/relay.ts';
import { DEVICE, openWorld, type World } from '../support/world.ts';

const POLLS = Number(process.argv[2] ?? 20);
const UPDATES = 3;
const IMAGE_BYTES = 4096;
const CONNECTED_MS = 60_000;
/** Longer than from one poll to the next of those that find a worker. */
const LINGER = '3s';
/** Of proc(5). */
const TICK_MS = 1000 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/**
 * aktualizr at mutual TLS with a P-256 key in SoftHSM2 and an Ed25519 manifest key, polling a server on
 * the same machine: means of an idle poll, and of one update of a small image.
 */
const PEER = {
  idle: { up: 6005, down: 8846, connections: 3, full: 3, syncs: 8.4, agentMs: 11.2 },
  update: { up: 25_162, down: 40_100, connections: 13 },
};

interface Cost {
  readonly up: number;
  readonly down: number;
  readonly connections: number;
  /** Of these, handshakes that began from nothing. */
  readonly full: number;
  readonly requests: number;
  readonly agentMs: number;
  readonly tokenMs: number;
  readonly serverMs: number;
  readonly syncs: number;
}

interface Stats {
  readonly devices: Readonly<
    Record<
      string,
      { readonly connections: number; readonly sessionsReused: number; readonly requests: number }
    >
  >;
}

class Bench {
  readonly world: World;
  readonly relay: Relay;
  #daemon: ChildProcess | undefined;
  #cycles: AsyncIterator<string> | undefined;
  #images = 0;

  private constructor(world: World, relay: Relay) {
    this.world = world;
    this.relay = relay;
  }

  static async open(uptaneKeyType: string): Promise<Bench> {
    const world = await openWorld('blank');
    const { device, director, directory } = world;
    const relay = await startRelay(Number(new URL(director.gatewayUrl).port));
    const absent = {
      slot_a: undefined,
      slot_b: undefined,
      marker: undefined,
      booted_file: undefined,
    };
    device.configure({
      gateway: { url: `https://127.0.0.1:${String(relay.port)}` },
      identity: { uptane_key_type: uptaneKeyType },
      installer: { type: 'file', path: join(directory, 'installed.bin'), ...absent },
      daemon: { linger: LINGER },
    });
    // libp11 0.4.12 finds no TLS key in a token that has an Ed25519 key, too.
    if (uptaneKeyType === 'ed25519') await tlsKeyInFile(world);
    const bench = new Bench(world, relay);
    const { exit, stderr } = await device.agent(['provision']);
    if (exit === 0) return bench;
    await bench.close();
    throw new Error(`provisioning failed: ${stderr}`);
  }

  /** Starts the daemon, and waits for its first poll. */
  async start(): Promise<void> {
    this.#daemon = this.world.device.start(['run']);
    this.#daemon.stdout?.resume();
    this.#daemon.stderr?.resume();
    this.#cycles = cyclesOf(await this.#listen());
    await this.poll();
  }

  /** @returns what it came to */
  async poll(): Promise<string> {
    await pollNow(this.world);
    const cycle = await this.#cycles?.next();
    return cycle?.done === false ? cycle.value : 'nothing: the daemon is gone';
  }

  /** @returns means of `times` acts, each begun after `before` */
  async measure(
    times: number,
    act: () => Promise<void>,
    before: () => Promise<void> = () => Promise.resolve(),
  ): Promise<Cost> {
    const untraced = await this.#round(times, act, before);
    const trace = join(this.world.directory, 'sync.strace');
    const strace = await this.#traced(trace);
    await this.#round(times, act, before);
    const ended = once(strace, 'exit');
    strace.kill('SIGINT');
    await ended;
    const syncs = readFileSync(trace, 'utf8').match(/^.*sync\(.*$/gmu)?.length ?? 0;
    return { ...untraced, syncs: syncs / times };
  }

  /** Until the worker of the daemon has gone. */
  async resting(): Promise<void> {
    while (childrenOf(this.#daemon?.pid ?? 0).length > 0) await setTimeout(50);
  }

  async update(): Promise<void> {
    const outcome = await this.poll();
    if (outcome !== 'installed') throw new Error(`the update ended with ${outcome}`);
  }

  async offer(): Promise<void> {
    this.#images += 1;
    const name = `image-${String(this.#images)}`;
    await this.world.offer(name, Buffer.alloc(IMAGE_BYTES, name));
  }

  async close(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon?.exitCode === null && daemon.signalCode === null) {
      const exited = once(daemon, 'exit');
      daemon.kill('SIGTERM');
      await exited;
    }
    this.relay.close();
    await this.world.close();
  }

  async #round(
    times: number,
    act: () => Promise<void>,
    before: () => Promise<void>,
  ): Promise<Omit<Cost, 'syncs'>> {
    const costs: Omit<Cost, 'syncs'>[] = [];
    for (let time = 0; time < times; time += 1) {
      await before();
      costs.push(await this.#once(act));
    }
    const mean = (of: keyof (typeof costs)[number]): number =>
      costs.reduce((sum, cost) => sum + cost[of], 0) / times;
    return {
      up: mean('up'),
      down: mean('down'),
      connections: mean('connections'),
      full: mean('full'),
      requests: mean('requests'),
      agentMs: mean('agentMs'),
      tokenMs: mean('tokenMs'),
      serverMs: mean('serverMs'),
    };
  }

  async #once(act: () => Promise<void>): Promise<Omit<Cost, 'syncs'>> {
    const { director, tee } = this.world;
    const { pid = 0 } = this.#daemon ?? {};
    const cpuMs = (): readonly number[] => [
      [pid, ...childrenOf(pid)].reduce((sum, one) => sum + cpuMsOf(one), 0),
      ...[tee.pid, director.pid].map(cpuMsOf),
    ];
    await director.control('DELETE', '/stats');
    this.relay.take();
    const started = cpuMs();
    await act();
    const [agentMs = 0, tokenMs = 0, serverMs = 0] = cpuMs().map(
      (ms, at) => ms - (started[at] ?? 0),
    );
    const { connections, bytesUp: up, bytesDown: down } = this.relay.take();
    const { devices } = (await director.control('GET', '/stats')) as Stats;
    const counted = devices[DEVICE] ?? { connections: 0, sessionsReused: 0, requests: 0 };
    const full = counted.connections - counted.sessionsReused;
    const { requests } = counted;
    return { up, down, connections, full, requests, agentMs, tokenMs, serverMs };
  }

  /** @returns the tracer, once it has hold of every thread */
  async #traced(trace: string): Promise<ChildProcess> {
    const events = 'trace=fsync,fdatasync,sync,syncfs,msync,sync_file_range';
    const { pid = 0 } = this.#daemon ?? {};
    const attached = [pid, ...childrenOf(pid)].flatMap((one) => ['-p', String(one)]);
    const args = ['-f', '-e', events, '-o', trace, ...attached];
    const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    await once(strace.stderr, 'data');
    return strace;
  }

  async #listen(): Promise<IncomingMessage> {
    const socketPath = join(this.world.device.options.directory, 'api.sock');
    const untilMs = performance.now() + CONNECTED_MS;
    for (;;) {
      try {
        const asked = request({ socketPath, path: '/v1/events' }).end();
        const [response] = (await once(asked, 'response')) as [IncomingMessage];
        return response;
      } catch (error) {
        if (performance.now() > untilMs) throw error;
        await setTimeout(50);
      }
    }
  }
}

async function tlsKeyInFile({ device, director, directory }: World): Promise<void> {
  const { key, csr } = await createRequest(DEVICE);
  const { pem } = await director.certify(csr);
  const files = {
    tls_key_file: join(directory, 'tls.key'),
    tls_certificate_file: join(directory, 'tls.pem'),
  };
  writeFileSync(files.tls_key_file, key, { mode: 0o600 });
  writeFileSync(files.tls_certificate_file, pem);
  device.configure({ token: { tls_backend: 'file' }, identity: files });
}

/** What cycles came to, as server-sent events tell it. */
async function* cyclesOf(events: IncomingMessage): AsyncGenerator<string> {
  let text = '';
  for await (const chunk of events) {
    text += String(chunk);
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const outcome = /^event: cycle\ndata: .*"outcome":"([^"]*)"/u.exec(block)?.[1];
      if (outcome !== undefined) yield outcome;
    }
  }
}

/** proc(5): fields 14 to 17, after a name that may have blanks; those of children that have ended, too. */
function cpuMsOf(pid: number): number {
  const text = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * TICK_MS;
}

function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

const COLUMNS = [
  'bytes up',
  'bytes down',
  'connections',
  'full TLS',
  'requests',
  'fsyncs',
  'agent ms',
  'token ms',
  'server ms',
  'of peer',
];

function print(what: string, cost: Partial<Cost>, peer?: { up: number; down: number }): void {
  const { up = 0, down = 0 } = cost;
  const share = peer === undefined ? '' : `1/${((peer.up + peer.down) / (up + down)).toFixed(1)}`;
  const { connections, full, requests, syncs, agentMs, tokenMs, serverMs } = cost;
  const figures = [
    ...[up, down].map((bytes) => bytes.toFixed(0)),
    ...[connections, full, requests, syncs, agentMs, tokenMs, serverMs].map(
      (value) => value?.toFixed(1) ?? '-',
    ),
    share,
  ];
  const cells = figures.map((figure) => figure.padStart(12)).join('');
  process.stdout.write(`${what.padEnd(36)}${cells}\n`);
}

for (const keyType of ['ed25519', 'rsa-2048']) {
  const heading = COLUMNS.map((column) => column.padStart(12)).join('');
  process.stdout.write(`\n${`Uptane key ${keyType}`.padEnd(36)}${heading}\n`);
  const bench = await Bench.open(keyType);
  const poll = async (): Promise<void> => {
    const outcome = await bench.poll();
    if (outcome !== 'up-to-date') throw new Error(`a poll ended with ${outcome}`);
  };
  try {
    await bench.start();
    print('idle poll, connection kept', await bench.measure(POLLS, poll), PEER.idle);
    const cut = (): Promise<void> => bench.relay.cut();
    print('idle poll, session resumed', await bench.measure(POLLS, poll, cut), PEER.idle);
    const rest = (): Promise<void> => bench.resting();
    print('idle poll, new worker', await bench.measure(POLLS, poll, rest), PEER.idle);
    const offer = async (): Promise<void> => {
      await bench.relay.cut();
      await bench.offer();
    };
    const update = (): Promise<void> => bench.update();
    print('update, session resumed', await bench.measure(UPDATES, update, offer), PEER.update);
  } finally {
    await bench.close();
  }
}
process.stdout.write('\n');
print('aktualizr, idle poll', PEER.idle);
print('aktualizr, update', PEER.update);
