/**
 * What the agent costs: an idle `once`, a waiting `run`, and an image from the server to the slot.
 *
 *     node test/bench/agent.bench.ts [MEBIBYTES]
 *
 * Prints medians with minimum and maximum; judges nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { openWorld, type World } from '../support/world.ts';

const RUNS = 5;
const MEBIBYTE = 1024 ** 2;
const AGENT = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');

interface Cost {
  readonly exit: number | null;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakMebibytes: number;
}

/** Runs one command under GNU time's accounting: the kernel's own figures for the whole process. */
async function measure(world: World, command: string): Promise<Cost> {
  const out = join(world.directory, 'time.txt');
  const args = ['-f', '%U %S %M', '-o', out, process.execPath, AGENT, command];
  const start = performance.now();
  const child = spawn('/usr/bin/time', [...args, '--config', world.device.configPath], {
    env: { ...process.env, ...world.tee.env },
    stdio: 'ignore',
  });
  const [exit] = (await once(child, 'exit')) as [number | null];
  const seconds = (performance.now() - start) / 1000;
  const line = readFileSync(out, 'utf8').trim().split('\n').at(-1) ?? '';
  const [user = 0, system = 0, peakKibibytes = 0] = line.split(' ').map(Number);
  return { exit, seconds, cpuSeconds: user + system, peakMebibytes: peakKibibytes / 1024 };
}

async function idle(world: World): Promise<void> {
  const costs: Cost[] = [];
  await measure(world, 'once');
  for (let run = 0; run < RUNS; run += 1) costs.push(await measure(world, 'once'));
  print(
    'once, idle: wall s',
    costs.map(({ seconds }) => seconds),
  );
  print(
    'once, idle: CPU s',
    costs.map(({ cpuSeconds }) => cpuSeconds),
  );
  print(
    'once, idle: peak RSS MiB',
    costs.map(({ peakMebibytes }) => peakMebibytes),
  );
}

async function transfer(world: World, mebibytes: number): Promise<void> {
  const rates: number[] = [];
  const peaks: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    await world.offer(`image-${String(run)}`, Buffer.alloc(mebibytes * MEBIBYTE, String(run)));
    const cost = await measure(world, 'once');
    if (cost.exit !== 11) throw new Error(`once ended with ${String(cost.exit)}`);
    rates.push(mebibytes / cost.seconds);
    peaks.push(cost.peakMebibytes);
    world.device.boot();
    await measure(world, 'once');
  }
  const what = `${String(mebibytes)} MiB: download, verify, write, read back`;
  print(`${what}: MiB/s of the whole process`, rates);
  print(`${what}: peak RSS MiB`, peaks);
}

async function waiting(world: World): Promise<void> {
  const child = world.device.start(['run']);
  child.stdout?.resume();
  child.stderr?.resume();
  await setTimeout(5000);
  const status = readFileSync(`/proc/${String(child.pid)}/status`, 'utf8');
  const value = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'mu').exec(status)?.[1] ?? 0) / 1024;
  print('run, waiting: RSS MiB', [value('VmRSS')]);
  print('run, waiting: private RSS MiB', [value('RssAnon')]);
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

function print(what: string, values: readonly number[]): void {
  const sorted = values.toSorted((a, b) => a - b);
  const [min = 0, median = 0, max = 0] = [
    sorted[0],
    sorted[Math.floor(sorted.length / 2)],
    sorted.at(-1),
  ];
  const figures = [median, min, max].map((value) => value.toFixed(2));
  process.stdout.write(
    `${what}: ${figures[0] ?? ''} (${figures[1] ?? ''} to ${figures[2] ?? ''})\n`,
  );
}

const world = await openWorld('provisioned');
try {
  await idle(world);
  await waiting(world);
  await transfer(world, Number(process.argv[2] ?? 256));
} finally {
  await world.close();
}
