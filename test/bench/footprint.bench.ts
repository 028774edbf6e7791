/**
 * What the daemon costs while it waits, beside a Node.js that does nothing: memory, start, processor; and
 * what a cycle costs, in the daemon and from `ota-agent-once.timer`, which leaves nothing in memory.
 *
 * By default of the sources, and of what is installed. Variants take turns, so that what else the machine
 * does hits all of them.
 * Resident is measured after the first poll, when its worker has gone: that is what a device pays.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { listenToNotifications } from '../support/notify-listener.ts';
import { countGiven, programOptions } from '../support/program-options.ts';
import { openWorld, type World } from '../support/world.ts';
import { pollNow } from '../support/poll-now.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const USAGE = `usage: npm run footprint -- [options]

  --runs N               medians of so many (5)
  --seconds N            how long the processor time of an idle daemon is counted (60)
  --agent NAME=PROGRAM   a main file with options of Node.js before it, to be measured instead of the
                         sources and the bundle; may be repeated`;
const values = programOptions(USAGE, {
  runs: { type: 'string', default: '5' },
  seconds: { type: 'string', default: '60' },
  agent: { type: 'string', multiple: true, default: [] },
});
const RUNS = countGiven('runs', values.runs, USAGE);
/** How long the processor time of an idle daemon is counted. */
const IDLE_SECONDS = countGiven('seconds', values.seconds, USAGE);
/** What was garbage after the first poll is collected when the process is idle, or never. */
const SETTLED_MS = 3000;
const KIBIBYTES_OF_A_MEBIBYTE = 1024;
/** Of times in /proc; sysconf(_SC_CLK_TCK) is 100 on every Linux that Node.js runs on. */
const TICKS_PER_SECOND = 100;

/** Of a daemon alone. */
const WAITS = ['--no-opt', '--no-maglev', '--no-sparkplug'];

interface Variant {
  readonly name: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

interface Cost {
  readonly pssMebibytes: number;
  readonly rssMebibytes: number;
  readonly privateMebibytes: number;
  readonly readyMs: number;
  /** Of the processor, which a busy machine does not lengthen as it does the wall's. */
  readonly readyCpuMs: number;
  /** Undefined where it was not waited for. */
  readonly idlePercent: number | undefined;
  readonly cycle: CycleCost;
}

/** One cycle that finds nothing to do. */
interface CycleCost {
  readonly cpuMs: number;
  /** Of all processes of the agent. */
  readonly peakMebibytes: number;
}

/** The daemon, until `act` has looked at it. */
async function withDaemon(world: World, variant: Variant, isTimed: boolean): Promise<Cost> {
  const cleanups: (() => Promise<void> | void)[] = [];
  const listener = await listenToNotifications({
    after: (end) => void cleanups.push(end as never),
  });
  const start = performance.now();
  const child = spawn(
    process.execPath,
    [...variant.argv, 'run', '--config', world.device.configPath],
    {
      env: {
        ...process.env,
        ...world.tee.env,
        ...variant.env,
        NOTIFY_SOCKET: listener.address,
        // As in the unit: feeding the watchdog is part of the price.
        WATCHDOG_USEC: '180000000',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${variant.name} ended with ${String(code)}: ${said}`);
  });
  ended.catch(() => undefined);
  try {
    while ((await Promise.race([listener.next(), ended])) !== 'READY=1');
    const readyMs = performance.now() - start;
    const readyCpuMs = familyCpuMs(child);
    const status = await Promise.race([listener.next(), ended]);
    if (status !== 'STATUS=up-to-date') throw new Error(`${variant.name}: ${status}: ${said}`);
    await Promise.race([resting(child), ended]);
    await sleep(SETTLED_MS);
    const processes = family(child);
    const memory = processes.map(memoryOf);
    const idlePercent = isTimed ? await idleOf(child) : undefined;
    const sum = (key: keyof Memory): number => memory.reduce((all, one) => all + one[key], 0);
    return {
      pssMebibytes: sum('pss'),
      rssMebibytes: sum('rss'),
      privateMebibytes: sum('private'),
      readyMs,
      readyCpuMs,
      idlePercent,
      cycle: await Promise.race([cycleOf(world, child), ended]),
    };
  } finally {
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
    for (const end of cleanups) await end();
  }
}

interface Memory {
  readonly pss: number;
  readonly rss: number;
  readonly private: number;
}

/** Whatever a daemon starts and keeps is part of its price. */
function family(child: ChildProcess): readonly number[] {
  const found = [child.pid ?? 0];
  for (const pid of found) found.push(...childrenOf(String(pid)));
  return found;
}

/** None of a process that has just gone. */
function childrenOf(pid: string): readonly number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return children === '' ? [] : children.split(' ').map(Number);
  } catch {
    return [];
  }
}

/** Until no other process works for it. */
async function resting(child: ChildProcess): Promise<void> {
  while (family(child).length > 1) await sleep(20);
}

async function cycleOf(world: World, child: ChildProcess): Promise<CycleCost> {
  const before = cpuSeconds(child.pid ?? 0);
  let peakMebibytes = 0;
  await pollNow(world);
  for (let pids = family(child); pids.length > 1; pids = family(child)) {
    const peak = pids.reduce((all, pid) => all + peakOf(pid), 0);
    peakMebibytes = Math.max(peakMebibytes, peak);
    await sleep(20);
  }
  return { cpuMs: (cpuSeconds(child.pid ?? 0) - before) * 1000, peakMebibytes };
}

/** None of a process that has just gone. */
function peakOf(pid: number): number {
  try {
    const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB/mu.exec(status)?.[1] ?? 0) / KIBIBYTES_OF_A_MEBIBYTE;
  } catch {
    return 0;
  }
}

/** What `wait4` says of a child and of those that it has waited for. */
const TIMED = `
import json, resource, subprocess, sys
exit = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([exit, (used.ru_utime + used.ru_stime) * 1000, used.ru_maxrss / 1024]))`;

/** As `ota-agent-once.service` runs it. */
function onceCost(world: World, variant: Variant): CycleCost {
  const args = [
    ...variant.argv.filter((flag) => !WAITS.includes(flag)),
    'once',
    '--config',
    world.device.configPath,
  ];
  const said = execFileSync('python3', ['-c', TIMED, process.execPath, ...args], {
    env: { ...process.env, ...world.tee.env, ...variant.env },
    encoding: 'utf8',
  });
  const [exit, cpuMs = NaN, peakMebibytes = NaN] = JSON.parse(said) as number[];
  if (exit !== 0) throw new Error(`${variant.name}: once ended with ${String(exit)}`);
  return { cpuMs, peakMebibytes };
}

function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${String(pid)}/smaps_rollup`, 'utf8');
  const value = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'mu').exec(text)?.[1] ?? NaN) /
    KIBIBYTES_OF_A_MEBIBYTE;
  return {
    pss: value('Pss'),
    rss: value('Rss'),
    private: value('Private_Clean') + value('Private_Dirty'),
  };
}

/** With that of the programs that it ran: `systemd-notify`, for one. */
function cpuSeconds(pid: number): number {
  const stat = `/proc/${String(pid)}/stat`;
  // A program that has ended since: whoever started it has its time by now.
  if (!existsSync(stat)) return 0;
  const fields = readFileSync(stat, 'utf8')
    .replace(/^.*\) /su, '')
    .split(' ');
  const [user, system, childUser, childSystem] = fields.slice(11, 15).map(Number);
  return ((user ?? 0) + (system ?? 0) + (childUser ?? 0) + (childSystem ?? 0)) / TICKS_PER_SECOND;
}

function familyCpuMs(child: ChildProcess): number {
  return family(child).reduce((all, pid) => all + cpuSeconds(pid) * 1000, 0);
}

async function idleOf({ pid }: ChildProcess): Promise<number> {
  const before = cpuSeconds(pid ?? 0);
  await sleep(IDLE_SECONDS * 1000);
  return ((cpuSeconds(pid ?? 0) - before) / IDLE_SECONDS) * 100;
}

/** A Node.js that has nothing to do. */
async function bareNode(): Promise<Pick<Cost, 'pssMebibytes' | 'rssMebibytes' | 'readyMs'>> {
  const start = performance.now();
  const child = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 2 ** 30)'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(child.stdout, 'data');
  const readyMs = performance.now() - start;
  await sleep(500);
  const { pss, rss } = memoryOf(child.pid ?? 0);
  const exited = once(child, 'exit');
  child.kill();
  await exited;
  return { pssMebibytes: pss, rssMebibytes: rss, readyMs };
}

function variants(directory: string): readonly Variant[] {
  if (values.agent.length > 0) {
    return values.agent.map((text) => {
      const [name = '', program = ''] = text.split(/=(.*)/su);
      return { name, argv: program.split(' '), env: {} };
    });
  }
  const bundle = join(directory, 'bundle');
  execFileSync(process.execPath, [join(ROOT, 'systemd/package/bundle.ts'), bundle]);
  const main = join(bundle, 'agent/main.js');
  // As in systemd/install.sh.
  const installed = ['--max-semi-space-size=1', ...WAITS, main];
  return [
    { name: 'sources', argv: [join(ROOT, 'agent/main.ts')], env: {} },
    { name: 'as installed', argv: installed, env: { MALLOC_ARENA_MAX: '1' } },
  ];
}

/** Of each agent; the last columns are of its cycles. */
function print(name: string, costs: readonly Partial<Cost & CycleCost>[]): void {
  const cell = (key: keyof (Omit<Cost, 'cycle'> & CycleCost), digits: number): string => {
    const sorted = costs.flatMap((cost) => cost[key] ?? []).sort((a, b) => a - b);
    const [low, high] = [sorted[0], sorted.at(-1)];
    if (low === undefined || high === undefined) return '–';
    const median = sorted[Math.floor(sorted.length / 2)] ?? low;
    return `${median.toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;
  };
  const cells = [
    cell('rssMebibytes', 1),
    cell('pssMebibytes', 1),
    cell('privateMebibytes', 1),
    cell('readyMs', 0),
    cell('readyCpuMs', 0),
    cell('idlePercent', 3),
    cell('cpuMs', 0),
    cell('peakMebibytes', 1),
  ];
  process.stdout.write(`| ${[name.padEnd(34), ...cells].join(' | ')} |\n`);
}

const world = await openWorld('provisioned');
world.device.configure({ daemon: { linger: '100ms' } });
try {
  const all = variants(world.directory);
  const costs = new Map(all.map(({ name }) => [name, [] as Cost[]]));
  const onces = new Map(all.map(({ name }) => [name, [] as CycleCost[]]));
  // The first run of each fills its caches.
  for (const variant of all) await withDaemon(world, variant, false);
  const bare = [];
  for (let run = 0; run < RUNS; run += 1) {
    bare.push(await bareNode());
    for (const variant of all) {
      costs.get(variant.name)?.push(await withDaemon(world, variant, run === 0));
      onces.get(variant.name)?.push(onceCost(world, variant));
    }
  }
  process.stdout.write(
    `load ${loadavg()
      .map((load) => load.toFixed(1))
      .join(' ')}, ${String(RUNS)} runs\n`,
  );
  process.stdout.write(
    '| median (low–high) | RSS MiB | PSS MiB | private MiB | READY ms | READY CPU ms | idle CPU % | cycle CPU ms | cycle peak MiB |\n',
  );
  process.stdout.write(`|${' --- |'.repeat(9)}\n`);
  print(`Node.js ${process.versions.node}, idle`, bare);
  for (const [name, list] of costs) {
    print(
      name,
      list.map((cost) => ({ ...cost, ...cost.cycle })),
    );
  }
  // Between two cycles there is no process.
  for (const [name, list] of onces) print(`${name}, from a timer`, list);
} finally {
  await world.close();
}
