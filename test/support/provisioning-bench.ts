/** A blank token and a Director, and everything that tests of provisioning do with them. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { settingsSchema } from '../../agent/settings.ts';
import { startDirector, type DirectorHandle } from '../director/start.ts';
import { inChild, killInChild, killInChildWhen, type Outcome } from './in-child.ts';
import type { DriverArgs, DriverResult } from './provision-driver.ts';
import { temporaryDirectory } from './temporary.ts';
import { SO_PIN, USER_PIN, type TokenKind, type TokenWorld } from './token-world.ts';

const DRIVER = join(import.meta.dirname, 'provision-driver.ts');
const SCENARIOS = join(import.meta.dirname, '../integration/provision.scenarios.ts');

export const ALL_DONE_NOW: readonly string[] = [
  'token done now',
  'token done now',
  'keys done now',
  'keys done now',
  'certificate done now',
  'roots done now',
  'roots done now',
  'registration done now',
];
export const ALL_FOUND = ALL_DONE_NOW.map((step) => step.replace('done now', 'found done'));
export const ONE_OF_EACH = {
  keys: { tls: [1, 1], uptane: [1, 1] },
  allPrivateKeys: 2,
  certificates: 1,
};

export interface KnownDevice {
  readonly id: string;
  readonly ecus: readonly { readonly serial: string; readonly hardwareId: string }[];
}

/** Changes to the settings, by section; `undefined` takes a setting away. */
export type Sections = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export class ProvisioningBench {
  readonly director: DirectorHandle;
  readonly #kind: TokenKind;
  readonly #state: ReturnType<typeof temporaryDirectory>;
  #world: TokenWorld;

  private constructor(
    kind: TokenKind,
    state: ReturnType<typeof temporaryDirectory>,
    started: { director: DirectorHandle; world: TokenWorld },
  ) {
    this.#kind = kind;
    this.#state = state;
    this.director = started.director;
    this.#world = started.world;
  }

  static async open(kind: TokenKind): Promise<ProvisioningBench> {
    const state = temporaryDirectory('director');
    const director = await startDirector({ stateDir: state.path });
    return new ProvisioningBench(kind, state, { director, world: await openWorld(kind) });
  }

  async close(): Promise<void> {
    await this.#world.close();
    await this.director.stop();
    this.#state.remove();
  }

  /** Another blank token and an empty record, for the next test. */
  async renew(): Promise<void> {
    await this.#world.close();
    this.#world = await openWorld(this.#kind);
  }

  path(name: string): string {
    return join(this.#world.directory, name);
  }

  /** Runs provisioning to its end, good or bad. No secret may show anywhere. */
  async attempt(changes?: Sections, more: Partial<DriverArgs> = {}): Promise<Outcome> {
    const args = { ...this.#driverArgs(changes), ...more };
    const outcome = await inChild(DRIVER, 'run', args, this.#world.env);
    const secret = readFileSync(this.director.enrolSecretPath, 'utf8').trim();
    const everything = JSON.stringify(outcome);
    for (const one of [USER_PIN, SO_PIN, secret]) assert.ok(!everything.includes(one));
    return outcome;
  }

  /** Runs provisioning, which must succeed. */
  async provision(changes?: Sections, more?: Partial<DriverArgs>): Promise<DriverResult> {
    const outcome = await this.attempt(changes, more);
    assert.equal(outcome.text, undefined, outcome.output);
    return outcome.value as DriverResult;
  }

  async killAfter(delayMs: number): Promise<'killed' | 'finished'> {
    return killInChild([DRIVER, 'run', this.#driverArgs()], this.#world.env, delayMs);
  }

  /** Runs provisioning and kills it `delayMs` after a file has come into being. */
  async killAtFile(
    path: string,
    delayMs: number,
    changes: Sections,
  ): Promise<'killed' | 'finished'> {
    const call = [DRIVER, 'run', this.#driverArgs(changes)] as const;
    return killInChildWhen(call, this.#world.env, () => existsSync(path), delayMs);
  }

  /** Calls one of provision.scenarios.ts. */
  async inspect(name: string, more: object = {}): Promise<unknown> {
    const args = { settings: this.#world.settings, ...more };
    const outcome = await inChild(SCENARIOS, name, args, this.#world.env);
    assert.equal(outcome.text, undefined);
    return outcome.value;
  }

  /** What the Director knows of a device. */
  async known(id: string): Promise<KnownDevice | undefined> {
    const devices = (await this.director.control('GET', '/devices')) as KnownDevice[];
    return devices.find((one) => one.id === id);
  }

  recorded(name: string): string | undefined {
    const path = this.path(join('record', name));
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  }

  #driverArgs(changes: Sections = {}): DriverArgs {
    const { gatewayUrl, caPath, enrolUrl, enrolSecretPath } = this.director;
    const sections: Sections = {
      gateway: { url: gatewayUrl, ca: caPath },
      token: { ...this.#world.settings },
      provisioning: { mode: 'est', est_url: enrolUrl, est_secret_file: enrolSecretPath },
      storage: { path: this.path('storage') },
      uptane: { roots: [this.director.directorRootPath, this.director.imageRootPath] },
    };
    const names = new Set([...Object.keys(sections), ...Object.keys(changes)]);
    const merged = [...names].map((name) => [name, { ...sections[name], ...changes[name] }]);
    // Settings travel to the process as JSON, where `undefined` is absent.
    const settings = settingsSchema.parse(Object.fromEntries(merged));
    return { settings, gatewayUrl, recordPath: this.path('record') };
  }
}

async function openWorld(kind: TokenKind): Promise<TokenWorld> {
  const world = await kind.open();
  mkdirSync(join(world.directory, 'record'));
  return world;
}
