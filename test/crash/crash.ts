/** Kills the agent at a named point, brings the device back, and says what became of it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { temporaryDirectory } from '../support/temporary.ts';
import { boot, manifests, openPorts, prepare } from './crash-device.ts';
import { scenarioOf, type Running } from './scenario.ts';

/** A point in the life of an update: the cycle (from 1), the call in it, and the side of it. */
export interface Point {
  readonly cycle: number;
  readonly name: string;
  readonly moment: 'before' | 'after';
}

/** What the device is like once it has come to rest. */
export interface Aftermath {
  /** Whether the agent was alive to be killed there. */
  readonly killed: boolean;
  /** What each ECU ran after the cut and its boot, before the agent did anything. */
  readonly booted: readonly Running[];
  /** What each ECU runs in the end, and what the agent believes. */
  readonly running: readonly Running[];
  readonly believed: readonly ('old' | 'new')[];
  /** How often the Director was told how the update ended; at least once, and with these codes. */
  readonly reports: readonly string[];
  readonly cycles: number;
}

const CYCLE = join(import.meta.dirname, 'cycle-main.ts');
const CACHE = { NODE_COMPILE_CACHE: join(import.meta.dirname, '../.cache/compile') };
const MAX_CYCLES = 8;

interface Cycle {
  /** `undefined` where it was killed. */
  readonly outcome: string | undefined;
  readonly points: readonly string[];
}

/** One cycle in another process; `point` is where it is killed. */
export async function runCycleIn(
  scenario: string,
  directory: string,
  point?: Pick<Point, 'name' | 'moment'>,
): Promise<Cycle> {
  const at = point === undefined ? [] : [point.name, point.moment];
  const child = spawn(process.execPath, [CYCLE, scenario, directory, ...at], {
    env: { ...process.env, ...CACHE },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  let said = '';
  let complained = '';
  child.stdout.on('data', (part: Buffer) => (said += part.toString()));
  child.stderr.on('data', (part: Buffer) => (complained += part.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (signal === 'SIGKILL' && point !== undefined) return { outcome: undefined, points: [] };
  if (code !== 0) throw new Error(`the cycle ended with ${String(signal ?? code)}: ${complained}`);
  return JSON.parse(said) as Cycle;
}

/** Every point that an undisturbed update passes, by cycle. */
export async function pointsOf(scenario: string): Promise<readonly Omit<Point, 'moment'>[]> {
  const temporary = temporaryDirectory('crash-points');
  try {
    await prepare(temporary.path, scenarioOf(scenario));
    const points: Omit<Point, 'moment'>[] = [];
    for (let cycle = 1; ; cycle += 1) {
      const { outcome, points: names } = await runCycleIn(scenario, temporary.path);
      points.push(...names.map((name) => ({ cycle, name })));
      if (outcome === 'installed' || cycle === MAX_CYCLES) return points;
      await boot(temporary.path, scenarioOf(scenario));
    }
  } finally {
    temporary.remove();
  }
}

/**
 * @param comesBack - `rebooted`: the device lost power as well, and booted
 * @throws Error if it has not come to rest after eight cycles
 */
export function crashAt(
  scenario: string,
  point: Point,
  comesBack: 'restarted' | 'rebooted',
): Promise<Aftermath> {
  return disturb(scenario, point.cycle, comesBack, async (directory) => {
    const { outcome } = await runCycleIn(scenario, directory, point);
    return outcome === undefined;
  });
}

/**
 * An update of which one cycle (from 1) is disturbed, until the device has come to rest.
 *
 * @param run - runs that cycle; `true` if it was disturbed
 * @throws Error if it has not come to rest after eight cycles
 */
export async function disturb(
  scenarioName: string,
  disturbedCycle: number,
  comesBack: 'restarted' | 'rebooted',
  run: (directory: string) => Promise<boolean>,
): Promise<Aftermath> {
  const scenario = scenarioOf(scenarioName);
  const temporary = temporaryDirectory('crash');
  const directory = temporary.path;
  const ecus = scenario.images.map(([{ serial }]) => serial);
  const running = (): Promise<Running[]> =>
    Promise.all(ecus.map(async (ecu) => scenario.running(join(directory, 'device'), ecu)));
  try {
    await prepare(directory, scenario);
    for (let cycle = 1; cycle < disturbedCycle; cycle += 1) {
      await runCycleIn(scenarioName, directory);
      await boot(directory, scenario);
    }
    const killed = await run(directory);
    if (comesBack === 'rebooted') await boot(directory, scenario);
    const booted = await running();
    const cycles = await comeToRest(scenarioName, directory);
    return {
      killed,
      booted,
      running: await running(),
      believed: await believed(scenarioName, directory),
      reports: manifests(directory).flatMap(reportedCode),
      cycles,
    };
  } finally {
    temporary.remove();
  }
}

/** @returns the number of cycles that it took */
async function comeToRest(scenarioName: string, directory: string): Promise<number> {
  for (let cycle = 1; cycle <= MAX_CYCLES; cycle += 1) {
    const { outcome } = await runCycleIn(scenarioName, directory);
    if (outcome === 'up-to-date' || outcome === 'failed-before') return cycle;
    if (outcome === 'reboot-required') await boot(directory, scenarioOf(scenarioName));
  }
  throw new Error(`not at rest after ${String(MAX_CYCLES)} cycles`);
}

async function believed(scenarioName: string, directory: string): Promise<('old' | 'new')[]> {
  const device = await openPorts(directory, scenarioOf(scenarioName));
  try {
    const inventory = await device.ports.store.inventory();
    return inventory.map(({ installed }) => (installed === undefined ? 'old' : 'new'));
  } finally {
    await device.close();
  }
}

function reportedCode(manifest: string): readonly string[] {
  const { signed } = JSON.parse(manifest) as {
    signed: { installation_report?: { report: { result: { code: string } } } };
  };
  return signed.installation_report === undefined
    ? []
    : [signed.installation_report.report.result.code];
}
