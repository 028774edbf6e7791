/** Kills the agent at a named point, brings the device back, and says what became of it. */
import { temporaryDirectory } from '../support/temporary.ts';
import { manifests, openPorts } from './crash-device.ts';
import { PoweredDevice } from './powered-device.ts';
import type { Running } from './scenario.ts';
import { scenarioOf } from './scenarios.ts';

/** A point in the life of an update: the cycle (from 1), the call in it, and the side of it. */
export interface Point {
  readonly cycle: number;
  readonly name: string;
  readonly moment: 'before' | 'after';
}

/** What the device is like once it has come to rest. */
export interface Aftermath {
  /** Whether the agent was alive to be disturbed there. */
  readonly met: boolean;
  /** What ECUs ran at each look: after the cut, and after each boot since. */
  readonly booted: readonly Running[];
  /** Calls that wrote an image once more, when its ECU ran it. */
  readonly repeated: readonly string[];
  /** What each ECU runs in the end, and what the agent believes. */
  readonly running: readonly Running[];
  readonly believed: readonly ('old' | 'new')[];
  /** What each ECU runs after boots in which no agent ran: a boot loader that still counts goes back. */
  readonly lasting: readonly Running[];
  /** How often the Director was told how the update ended; at least once, and with these codes. */
  readonly reports: readonly string[];
  readonly cycles: number;
}

const MAX_CYCLES = 8;
/** More than any boot loader here tries an image that nobody found good. */
const BOOTS = 5;
const WRITES = /^installer\/(.+)\.(?:write|receive)#/u;

/** Every point that an undisturbed update passes, by cycle. */
export async function pointsOf(scenario: string): Promise<readonly Omit<Point, 'moment'>[]> {
  return withDevice(scenario, async (device) => {
    const points: Omit<Point, 'moment'>[] = [];
    for (let cycle = 1; ; cycle += 1) {
      const { outcome, points: names } = await device.runCycle();
      points.push(...names.map((name) => ({ cycle, name })));
      if (outcome === 'installed' || cycle === MAX_CYCLES) return points;
      await device.reboot();
    }
  });
}

/**
 * @param comesBack - `rebooted`: the device lost power as well, and booted
 * @throws Error if it has not come to rest after eight cycles
 */
export async function crashAt(
  scenario: string,
  point: Point,
  comesBack: 'restarted' | 'rebooted',
): Promise<Aftermath> {
  const run = async (device: PoweredDevice): Promise<boolean> =>
    (await device.runCycle(point)).outcome === undefined;
  return disturb(scenario, { cycle: point.cycle, run }, comesBack);
}

/** One cycle (from 1) of an update. `run` tells whether it met what was to disturb it. */
export interface Disturbance {
  readonly cycle: number;
  readonly run: (device: PoweredDevice) => Promise<boolean>;
}

/**
 * An update of which one cycle is disturbed, until the device has come to rest.
 *
 * @throws Error if it has not come to rest after eight cycles
 */
export async function disturb(
  scenario: string,
  { cycle: disturbed, run }: Disturbance,
  comesBack: 'restarted' | 'rebooted',
): Promise<Aftermath> {
  return withDevice(scenario, async (device) => {
    for (let cycle = 1; cycle < disturbed; cycle += 1) {
      await device.runCycle();
      await device.reboot();
    }
    const met = await run(device);
    if (comesBack === 'rebooted') await device.reboot();
    const { booted, repeated, cycles } = await comeToRest(device);
    const running = await device.running();
    return {
      met,
      booted,
      repeated,
      running,
      believed: await believed(scenario, device.directory),
      lasting: await device.runningAfter(scenarioOf(scenario).boots ?? BOOTS),
      reports: manifests(device.directory).flatMap(reportedCode),
      cycles,
    };
  });
}

/** A device as the factory leaves it, switched on, for as long as `act` takes. */
export async function withDevice<T>(
  scenario: string,
  act: (device: PoweredDevice) => Promise<T>,
): Promise<T> {
  const temporary = temporaryDirectory('crash');
  try {
    const device = await PoweredDevice.make(scenario, temporary.path);
    try {
      return await act(device);
    } finally {
      await device.switchOff();
    }
  } finally {
    temporary.remove();
  }
}

type Way = Pick<Aftermath, 'booted' | 'repeated' | 'cycles'>;

async function comeToRest(device: PoweredDevice): Promise<Way> {
  const booted: Running[] = [];
  const repeated: string[] = [];
  for (let cycles = 1; cycles <= MAX_CYCLES; cycles += 1) {
    const running = await device.running();
    booted.push(...running);
    const { outcome, points } = await device.runCycle();
    const isNew = (ecu: string | undefined): boolean =>
      running[device.serials.indexOf(ecu ?? '')] === 'new';
    repeated.push(...points.filter((point) => isNew(WRITES.exec(point)?.[1])));
    if (outcome === 'up-to-date' || outcome === 'failed-before')
      return { booted, repeated, cycles };
    if (outcome === 'reboot-required') await device.reboot();
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
