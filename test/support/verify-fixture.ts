/** Two repositories on disk and `ota-agent verify` run on them. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { CommandResult } from '../../agent/commands/result.ts';
import { verifyCommand } from '../../agent/commands/verify.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';
import { temporaryDirectory } from './temporary.ts';
import { PRIMARY, World } from './uptane-world.ts';

export interface VerifyResult extends CommandResult {
  readonly json: Readonly<Record<string, unknown>>;
}

export class VerifyFixture {
  world = new World();
  readonly #temporary = temporaryDirectory('verify');
  /** Options that carry trust from one run to the next. */
  readonly withState: readonly string[] = ['--state', this.at('state')];

  /** A path in the directory of this test. */
  at(...names: readonly string[]): string {
    return join(this.#temporary.path, ...names);
  }

  /** Serves both repositories from disk, as a web server would. */
  serve(): void {
    for (const repo of ['director', 'image'] as const) {
      rmSync(this.at(repo), { recursive: true, force: true });
      mkdirSync(this.at(repo));
      for (const [name, bytes] of this.world[repo].served) this.write(join(repo, name), bytes);
    }
  }

  write(name: string, content: Uint8Array | string): void {
    mkdirSync(dirname(this.at(name)), { recursive: true });
    writeFileSync(this.at(name), content);
  }

  async run(
    options: readonly string[] = [],
    ecus: readonly Ecu[] = [PRIMARY],
  ): Promise<VerifyResult> {
    const result = await verifyCommand([
      ...['--director', this.at('director'), '--image', this.at('image')],
      ...['--time', '2026-11-21T00:00:00Z'],
      ...ecus.flatMap(({ serial, hardwareId }) => ['--ecu', serial, '--hardware-id', hardwareId]),
      ...options,
    ]);
    return { ...result, json: { ...result.json } };
  }

  remove(): void {
    this.#temporary.remove();
  }
}
