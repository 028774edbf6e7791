/** A fleet from its first poll to its summary: rollout, outage, and what they cost. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { ControlFailure } from '../director/control/client.ts';
import type { CountedRollout } from '../director/control/rollouts.ts';
import type { Rollout } from '../director/rollouts/rollout.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { emulator, type TokenWorld } from '../support/token-world.ts';
import type { Arguments } from './arguments.ts';
import type { Share } from './messages.ts';
import { HARDWARE_IDS } from './population.ts';
import { Reporter, type Say } from './reporter.ts';
import { Servers } from './servers.ts';
import { SimulatedTime } from './simulated-time.ts';
import { summaryOf, type Marks, type Summary } from './summary.ts';
import { Tally } from './tally.ts';
import { prepareToken } from './uptane-keys.ts';
import { Workers } from './workers.ts';

const IMAGE = 'fleet-2.bin';
const IMAGE_BYTES = 4096;
const LOOK_MS = 500;
/** More than any image fails: a fleet that is simulated goes on to its end, unless it is a third. */
const FAILURE_PERCENT = 33;
const SUCCESS_PERCENT = 50;

/**
 * @param say - is given one line after the other
 * @param interrupted - ends it early; rejects once everything is put away
 */
export async function runFleet(
  options: Arguments,
  say: Say,
  interrupted: AbortSignal = new AbortController().signal,
): Promise<Summary> {
  const directory = temporaryDirectory('fleet');
  const tally = new Tally();
  let token: TokenWorld | undefined;
  let servers: Servers | undefined;
  let workers: Workers | undefined;
  try {
    token = options.tokenDevices > 0 ? await openTokenWorld() : undefined;
    workers = Workers.start(options.workers, token?.env ?? {}, (polls) => {
      tally.add(polls);
    });
    servers = await Servers.open(options, directory.path);
    const fleet = new Fleet({ options, servers, workers, tally, say, directory: directory.path });
    return await Promise.race([fleet.run(token), rejectionOf(interrupted)]);
  } finally {
    workers?.kill();
    await servers?.close();
    await token?.close();
    directory.remove();
  }
}

function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => {
      reject(new Error('interrupted'));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}

interface Parts {
  readonly options: Arguments;
  readonly servers: Servers;
  readonly workers: Workers;
  readonly tally: Tally;
  readonly say: Say;
  readonly directory: string;
}

class Fleet {
  readonly #parts: Parts;
  #rolloutId: string | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async run(token: TokenWorld | undefined): Promise<Summary> {
    const { options, servers, workers, tally, say } = this.#parts;
    say(populationOf(options));
    const startMs = performance.now();
    await workers.prepare(this.#shares(token));
    say(`identities and registrations: ${((performance.now() - startMs) / 1000).toFixed(0)} s`);
    const startedAtMs = performance.timeOrigin + performance.now();
    const time = new SimulatedTime(options.compress);
    time.start(startedAtMs);
    const reporter = new Reporter({ time, tally, servers, workers, say });
    workers.start(startedAtMs);
    reporter.begin();
    try {
      const marks = await workers.whileAlive(this.#story(time));
      const rollout = await this.#show();
      const images = await workers.stop();
      return summaryOf({ options, marks, tally, rollout, images, costs: reporter.costs() });
    } finally {
      reporter.end();
    }
  }

  #shares(token: TokenWorld | undefined): readonly Share[] {
    const { options, servers, directory } = this.#parts;
    const { leader } = servers;
    const each = Math.ceil(options.devices / options.workers);
    return Array.from({ length: options.workers }, (_, at) => ({
      first: at * each,
      count: Math.max(0, Math.min(each, options.devices - at * each)),
      options: { ...options, failOn: [...options.failOn] },
      gatewayUrls: servers.gatewayUrls,
      stateDir: leader.stateDir,
      caPath: leader.caPath,
      roots: [leader.directorRootPath, leader.imageRootPath] as const,
      stagingDirectory: join(directory, 'staging'),
      ...(token === undefined ? {} : { token: token.settings }),
    }));
  }

  /** Rollout and outage each have their time; then it is watched how it calms down. */
  async #story(time: SimulatedTime): Promise<Marks> {
    const { options, say } = this.#parts;
    const rollout = this.#rollOut(time);
    const outage = options.outageMinutes > 0 ? this.#outage(time) : Promise.resolve(undefined);
    const [overAtMinute, away] = await Promise.all([rollout, outage]);
    await time.reach(Math.max(overAtMinute, away?.toMinute ?? 0) + options.afterMinutes);
    say('');
    return {
      overAtMinute,
      endedAtMinute: time.nowMinutes(),
      ...(away === undefined ? {} : { away }),
    };
  }

  async #outage(time: SimulatedTime): Promise<Marks['away']> {
    const { options, servers, say } = this.#parts;
    await time.reach(options.outageAtMinute);
    const fromMinute = time.nowMinutes();
    await servers.kill();
    say(`the servers are killed at minute ${fromMinute.toFixed(1)}`);
    await time.reach(fromMinute + options.outageMinutes);
    await servers.restart();
    const toMinute = time.nowMinutes();
    say(`the servers are back at minute ${toMinute.toFixed(1)}`);
    return { fromMinute, toMinute };
  }

  /** @returns the minute in which it was over */
  async #rollOut(time: SimulatedTime): Promise<number> {
    const { options, servers, say, directory } = this.#parts;
    await time.reach(options.rolloutAtMinute);
    while (!servers.areUp) await wait(LOOK_MS);
    const path = join(directory, IMAGE);
    mkdirSync(directory, { recursive: true });
    writeFileSync(path, randomBytes(IMAGE_BYTES));
    const { leader } = servers;
    await leader.publish({ path, name: IMAGE, hardwareIds: HARDWARE_IDS, version: '2' });
    const { id } = (await leader.control('POST', '/rollouts', {
      name: 'fleet',
      image: IMAGE,
      phases: options.phases.map((percentage) => ({
        percentage,
        soakSeconds: Math.ceil((options.soakMinutes * 60) / options.compress),
        failurePercent: FAILURE_PERCENT,
        successPercent: SUCCESS_PERCENT,
      })),
    })) as Rollout;
    await leader.control('POST', `/rollouts/${id}/start`);
    this.#rolloutId = id;
    say(`the rollout has started at minute ${time.nowMinutes().toFixed(1)}`);
    return this.#watch(time);
  }

  async #watch(time: SimulatedTime): Promise<number> {
    const { options, servers, say } = this.#parts;
    let reason = '';
    for (;;) {
      const rollout = servers.areUp ? await this.#show() : undefined;
      if (rollout !== undefined && rollout.reason !== reason) {
        ({ reason } = rollout);
        say(`rollout at minute ${time.nowMinutes().toFixed(1)}: ${rollout.state}, ${reason}`);
      }
      const isOver = rollout !== undefined && rollout.state !== 'running';
      if (isOver || time.nowMinutes() > options.maxMinutes) return time.nowMinutes();
      await wait(LOOK_MS);
    }
  }

  async #show(): Promise<CountedRollout | undefined> {
    const { servers } = this.#parts;
    if (this.#rolloutId === undefined) return undefined;
    try {
      return (await servers.leader.control(
        'GET',
        `/rollouts/${this.#rolloutId}`,
      )) as CountedRollout;
    } catch (error) {
      // Killed in the middle of an answer, or too busy for one: it is asked again.
      if (!servers.areUp || (error instanceof ControlFailure && error.status === 503))
        return undefined;
      throw error;
    }
  }
}

async function openTokenWorld(): Promise<TokenWorld> {
  const world = await emulator.open();
  Object.assign(process.env, world.env);
  prepareToken(world.settings);
  return world;
}

function populationOf(options: Arguments): string {
  const { devices, tokenDevices, workers, servers, database, intervalMinutes, compress } = options;
  return [
    `${String(devices)} devices in ${String(workers)} processes`,
    `${String(servers)} server processes over ${database}`,
    `a poll every ${String(intervalMinutes)} min, time ${String(compress)} times as fast`,
    `Uptane keys: ${String(tokenDevices)} in the emulated token, ${String(devices - tokenDevices)} in memory`,
    'TLS keys: all in memory',
  ].join('; ');
}
