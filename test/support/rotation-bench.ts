/** A provisioned device on one kind of token, and processes of its agent that are cut short. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { startDirector, type DirectorHandle } from '../director/start.ts';
import { Device, type AgentResult } from './device.ts';
import type { DriverArgs, DriverResult, Found } from './rotation-driver.ts';
import { inChild } from './in-child.ts';
import { temporaryDirectory } from './temporary.ts';
import type { TokenKind, TokenWorld } from './token-world.ts';
import { describe as said, DEVICE, HARDWARE } from './world.ts';

const DRIVER = join(import.meta.dirname, 'rotation-driver.ts');
const RUNNER = join(import.meta.dirname, 'child-main.ts');
const NODE_COMPILE_CACHE = join(import.meta.dirname, '../.cache/compile');

export interface Ran {
  /** What it found in the token after the cycle; absent if it did not get that far. */
  readonly found: Found | undefined;
  readonly result: DriverResult | undefined;
  /** Where it was cut, or why it failed. */
  readonly cut: string | undefined;
  readonly output: string;
}

export interface KnownDevice {
  readonly lastManifestAt?: string;
  readonly ecus: readonly { readonly publicKey: string }[];
  readonly formerKeys?: readonly { readonly publicKey: string }[];
}

export class RotationBench {
  readonly director: DirectorHandle;
  readonly device: Device;
  readonly #token: TokenWorld;
  readonly #state: ReturnType<typeof temporaryDirectory>;

  private constructor(
    director: DirectorHandle,
    token: TokenWorld,
    state: ReturnType<typeof temporaryDirectory>,
  ) {
    this.director = director;
    this.#token = token;
    this.#state = state;
    this.device = new Device({
      directory: join(token.directory, 'device'),
      id: DEVICE,
      hardwareId: HARDWARE,
      gateway: {
        url: director.gatewayUrl,
        enrolUrl: director.enrolUrl,
        caPath: director.caPath,
        enrolSecretPath: director.enrolSecretPath,
        roots: [director.directorRootPath, director.imageRootPath],
      },
      token: { module: token.settings.module, env: token.env },
    });
    const { isolation } = token.settings;
    if (isolation !== undefined) this.device.configure({ token: { isolation } });
  }

  /** @param dates - of the first certificate; a year from now if absent */
  static async open(
    kind: Pick<TokenKind, 'open'>,
    dates?: { readonly notBefore: string; readonly notAfter: string },
  ): Promise<RotationBench> {
    const state = temporaryDirectory('director');
    const director = await startDirector({ stateDir: state.path });
    const bench = new RotationBench(director, await kind.open(), state);
    const years = { targets: 63_072_000, snapshot: 63_072_000, timestamp: 63_072_000 };
    await director.control('PUT', '/settings', { ecuReplacement: true, validitySeconds: years });
    if (dates === undefined) await bench.ok(['provision']);
    else await bench.#provisionByHand(dates);
    return bench;
  }

  async #provisionByHand(dates: { notBefore: string; notAfter: string }): Promise<void> {
    const at = (name: string): string => join(this.device.options.directory, name);
    const files = { csr_file: at('first.csr'), certificate_file: at('first.pem') };
    this.device.configure({ provisioning: { mode: 'manual', ...files } });
    await this.ok(['provision'], 3);
    const { pem } = await this.director.certify(readFileSync(files.csr_file, 'utf8'), dates);
    writeFileSync(files.certificate_file, pem);
    await this.ok(['provision']);
    const none = { csr_file: undefined, certificate_file: undefined };
    this.device.configure({ provisioning: { mode: 'est', ...none } });
  }

  async close(): Promise<void> {
    await this.#token.close();
    await this.director.stop();
    this.#state.remove();
  }

  /** One command of the agent, which must end with `exit`. */
  async ok(args: readonly string[], exit = 0): Promise<AgentResult> {
    const result = await this.device.agent(args);
    assert.equal(result.exit, exit, said(result));
    return result;
  }

  /** Runs the driver to its end, whatever it is. */
  async run(args: Omit<DriverArgs, 'configPath'>): Promise<Ran> {
    const all: DriverArgs = { ...args, configPath: this.device.configPath };
    const child = fork(RUNNER, [DRIVER, 'run', JSON.stringify(all)], {
      env: { NODE_COMPILE_CACHE, ...process.env, ...this.#token.env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      timeout: 60_000,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
    }
    let found: Found | undefined;
    let outcome: { value?: DriverResult; text?: string } = {};
    child.on('message', (message) => {
      if (typeof message !== 'object') return;
      if ('found' in message) found = message as Found;
      else outcome = message;
    });
    await once(child, 'close');
    const cut = outcome.text ?? /power cut (.+)/u.exec(output)?.[1];
    return { found, result: outcome.value, cut, output };
  }

  /** The same without a cut, which must go well. */
  async finish(args: Omit<DriverArgs, 'configPath'> = {}): Promise<DriverResult> {
    const { result, output, cut } = await this.run(args);
    assert.ok(result, `${cut ?? ''}\n${output}`);
    return result;
  }

  /** Ballast that leaves the token no room, or its end. */
  async fill(turn: 'on' | 'off'): Promise<void> {
    const settings = { login: 'pin', ...this.device.settings['token'] };
    const { value, text } = await inChild(DRIVER, 'fill', { settings, turn }, this.#token.env);
    assert.equal(text, undefined);
    assert.ok(Number(value) > 0);
  }

  async known(): Promise<KnownDevice> {
    return (await this.director.control('GET', `/devices/${DEVICE}`)) as KnownDevice;
  }

  async certificates(): Promise<readonly { serial: string }[]> {
    return (await this.director.control('GET', '/certificates')) as { serial: string }[];
  }

  /** What the Director said to the last manifest. */
  async lastVerdict(): Promise<string> {
    const records = (await this.director.control('GET', `/devices/${DEVICE}/manifests`)) as {
      verdict: { code: string };
    }[];
    return records.at(-1)?.verdict.code ?? 'none';
  }
}
