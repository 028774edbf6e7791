/** Every vector, through `ota-agent verify` with a state directory, as an operator would run it. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { verifyCommand } from '../../agent/commands/verify.ts';
import type { CommandResult } from '../../agent/commands/result.ts';
import { handlingOf } from '../../agent/errors.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  CODE_OF_VECTOR,
  loadVectors,
  UNKNOWN_KEY_TYPE,
  type Vector,
  type VectorStep,
} from '../support/uptane-vectors.ts';

const temporary = temporaryDirectory('vectors');
after(() => {
  temporary.remove();
});

for (const vector of loadVectors()) {
  test(`ota-agent verify on ${vector.name}`, async () => {
    const state = join(temporary.path, vector.name);
    for (const step of vector.steps) {
      const before = readState(state);
      const result = await run(vector, step, state);
      assert.deepEqual(facts(result), expected(vector, step));
      if (result.exit === 0 && step.expect !== 'no-update') assertInstalled(state, result);
      else assert.deepEqual(readState(state).get('installed.json'), before.get('installed.json'));
    }
  });
}

interface Facts {
  readonly exit: number;
  readonly outcome: string;
  readonly code: string | null;
  readonly attack: string | null;
}

function expected({ name }: Vector, { expect }: VectorStep): Facts {
  const accepted = { exit: 0, code: null, attack: null };
  if (expect === 'install' || name === UNKNOWN_KEY_TYPE) return { ...accepted, outcome: 'update' };
  if (expect === 'no-update') return { ...accepted, outcome: 'up-to-date' };
  const code = CODE_OF_VECTOR[name];
  assert.ok(code);
  const { attack = null } = handlingOf(code);
  return { exit: code.startsWith('IMAGE_') ? 31 : 20, outcome: 'refused', code, attack };
}

function run(
  { ecus }: Vector,
  { director, image }: VectorStep,
  state: string,
): Promise<CommandResult> {
  const named = ecus.flatMap(({ serial, hardwareId }) => [
    '--ecu',
    serial,
    '--hardware-id',
    hardwareId,
  ]);
  const time = ['--time', '2026-11-21T00:00:00Z'];
  return verifyCommand([
    '--director',
    director,
    '--image',
    image,
    '--state',
    state,
    ...named,
    ...time,
  ]);
}

function facts({ exit, json }: CommandResult): Facts {
  const { outcome, code, attack } = json as Facts;
  return { exit, outcome, code, attack };
}

/** Every file of a state directory by its path, as text. */
function readState(path: string): ReadonlyMap<string, string> {
  if (!existsSync(path)) return new Map();
  const files = readdirSync(path, { recursive: true, withFileTypes: true });
  return new Map(
    files
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .map((file) => [file.slice(path.length + 1), readFileSync(file, 'utf8')]),
  );
}

/** What was announced as an update is what the next run takes for installed. */
function assertInstalled(state: string, { json }: CommandResult): void {
  const { targets } = json as { targets: { ecu: string }[] };
  const text = readState(state).get('installed.json');
  assert.ok(text !== undefined && targets.length > 0);
  const { images } = JSON.parse(text) as { images: { ecu: string }[] };
  for (const target of targets) {
    assert.deepEqual(
      images.find(({ ecu }) => ecu === target.ecu),
      target,
    );
  }
}
