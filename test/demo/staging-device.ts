/**
 * A device for the staging server that runs in another terminal: `npm run staging:device`.
 *
 * A token in an emulated TEE, two slots with a boot loader, and the agent as its daemon. All of it is
 * kept: the next run is the same device, switched on again.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { findDirector, type DirectorPlaces } from '../director/start.ts';
import type { Device } from '../support/device.ts';
import { programOptions } from '../support/program-options.ts';
import { startTeeApart } from '../support/tee.ts';
import { makeDevice } from '../support/world.ts';
import { agent } from './agent.ts';
import { say, show, step } from './narration.ts';

const CACHE = join(import.meta.dirname, '..', '.cache');
/** Short enough that a person sees something happen. */
const POLL_INTERVAL = '2s';

const USAGE = `usage: npm run staging:device -- [options]

  --id NAME            of the device; each is kept, and goes on where it was (device-1)
  --hardware-id NAME   what images have to be for (staging-board)
  --state DIR          of the server (test/.cache/staging, as npm run staging has it)
  --directory DIR      where devices are kept (test/.cache/staging-devices)`;

interface Options {
  readonly id: string;
  readonly hardwareId: string;
  /** The server's. */
  readonly stateDir: string;
  /** Where the device is kept, beside others. */
  readonly directory: string;
}

function readOptions(): Options {
  const values = programOptions(USAGE, {
    id: { type: 'string', default: 'device-1' },
    'hardware-id': { type: 'string', default: 'staging-board' },
    state: { type: 'string', default: join(CACHE, 'staging') },
    directory: { type: 'string', default: join(CACHE, 'staging-devices') },
  });
  if (!/^[\w-]{1,40}$/u.test(values.id)) {
    throw new Error('--id takes 1 to 40 letters, digits, "-" and "_"');
  }
  return {
    id: values.id,
    hardwareId: values['hardware-id'],
    stateDir: resolve(values.state),
    directory: join(resolve(values.directory), values.id),
  };
}

function directorOf({ stateDir }: Options): DirectorPlaces {
  const director = findDirector(stateDir);
  if (director !== undefined) return director;
  const remedy = 'start it in another terminal with: npm run staging';
  throw new Error(`no staging server runs over ${stateDir}\nremedy: ${remedy}`);
}

/** What a person at the device does, or a reset button. */
class Power {
  #asked: 'reboot' | 'off' | undefined;
  #agent: ChildProcess | undefined;

  constructor() {
    const ask = (what: 'reboot' | 'off') => (): void => {
      if (this.#asked !== 'off') this.#asked = what;
      this.#agent?.kill('SIGTERM');
    };
    process.once('SIGINT', ask('off')).once('SIGTERM', ask('off'));
    // The daemon's reboot command sends it.
    process.on('SIGUSR2', ask('reboot'));
  }

  /** Runs the daemon, and again after each reboot, until the power goes off. */
  async run(device: Device): Promise<void> {
    for (;;) {
      this.#agent = device.start(['run'], {}, 'inherit');
      const [exit, signal] = (await once(this.#agent, 'close')) as [number | null, string | null];
      const asked = this.#take();
      if (asked === undefined)
        throw new Error(`ota-agent run ended with ${String(exit ?? signal)}`);
      if (asked === 'off') return;
      step(`The device reboots, into slot ${device.boot()}`);
    }
  }

  #take(): 'reboot' | 'off' | undefined {
    const asked = this.#asked;
    this.#asked = undefined;
    return asked;
  }
}

async function main(): Promise<void> {
  const options = readOptions();
  const director = directorOf(options);
  const { id, hardwareId, directory } = options;
  const power = new Power();
  mkdirSync(directory, { recursive: true });
  const tee = await startTeeApart(directory);
  try {
    const device = makeDevice(directory, { id, hardwareId }, director, tee);
    device.configure({
      uptane: { poll_interval: POLL_INTERVAL },
      telemetry: { system_info: true, network: true, packages: true },
      installer: { reboot_command: ['kill', '-USR2', String(process.pid)] },
    });
    step(`The device ${id} gets its identity, inside a token`);
    await agent(device, ['provision'], 0);
    step('It polls; publish an image and start a rollout on the page');
    say(`Images for it need the hardware id ${hardwareId}. Ctrl-C switches it off.`);
    show(`export OTA_TEE_SOCKET=${tee.socket}`);
    show(`npm run -s ota-agent -- status --config ${device.configPath}`);
    await power.run(device);
  } finally {
    await tee.stop();
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
