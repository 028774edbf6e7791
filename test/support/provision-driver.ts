/** Provisioning as a process that can be killed: what `ota-agent provision` does, on files. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

import { openHttp } from '../../agent/assemble.ts';
import type { Settings } from '../../agent/config.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { provision, type Provisioned } from '../../provisioning/provision.ts';
import type { GatewayRequest, ProvisioningRecord } from '../../provisioning/record.ts';

export interface DriverArgs {
  readonly settings: Settings;
  readonly gatewayUrl: string;
  /** Where the record is kept. */
  readonly recordPath: string;
  readonly now?: number;
}

export interface DriverResult {
  readonly provisioned: Provisioned;
  /** `step outcome` of every step, in order. */
  readonly steps: readonly string[];
  readonly facts: readonly string[];
}

/** One file per entry, each replaced whole. */
export class FileRecord implements ProvisioningRecord {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  get(name: string): Promise<string | undefined> {
    const path = join(this.#directory, name);
    return Promise.resolve(existsSync(path) ? readFileSync(path, 'utf8') : undefined);
  }

  put(name: string, value: string | Uint8Array): Promise<void> {
    const path = join(this.#directory, name);
    const file = openSync(`${path}.new`, 'w');
    writeSync(file, Buffer.from(value));
    fsyncSync(file);
    closeSync(file);
    renameSync(`${path}.new`, path);
    return Promise.resolve();
  }

  hasRoot(repo: string): Promise<boolean> {
    return Promise.resolve(existsSync(join(this.#directory, `${repo}-root`)));
  }

  /** The root comes last: it is what says that the rest is there. */
  async pin(repo: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const rootLast = [...files].sort(([a], [b]) => Number(a === 'root') - Number(b === 'root'));
    for (const [role, bytes] of rootLast) await this.put(`${repo}-${role}`, bytes);
  }
}

/** Tells the parent when it begins, so that the parent can end it in the middle. */
export async function run(args: DriverArgs): Promise<DriverResult> {
  const { settings, gatewayUrl, now } = args;
  const steps: string[] = [];
  const facts: string[] = [];
  const closing: (() => Promise<void>)[] = [];
  process.send?.('begun');
  const provisioned = await provision(
    settings,
    {
      record: new FileRecord(args.recordPath),
      connect: (identity): GatewayRequest => {
        const http = openHttp(settings, () => identity, { now: () => Date.now() as Instant });
        closing.push(() => http.close());
        return async (method, path, body) => {
          const sent = {
            method,
            url: `${gatewayUrl}${path}`,
            ...(body === undefined ? {} : { body }),
          };
          const response = await http.send(sent);
          return {
            status: response.status,
            body: await whole(response.body),
          };
        };
      },
      now: () => (now ?? Date.now()) as Instant,
      env: process.env,
      hostName: 'gateway-board',
      userAgent: 'ota-agent/test',
    },
    (step, outcome, fact) => {
      steps.push(`${step} ${outcome}`);
      facts.push(fact);
    },
  ).finally(() => Promise.all(closing.map((close) => close())));
  return { provisioned, steps, facts };
}

async function whole(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
}
