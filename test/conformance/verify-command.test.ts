/** Every vector, through the process `ota-agent verify`, as an operator would run it. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import { handlingOf } from '../../agent/errors.ts';
import { spawnAgent, type Spawned } from '../support/spawn-agent.ts';
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

describe('ota-agent verify', { concurrency: 2 }, () => {
  for (const vector of loadVectors()) {
    test(`on ${vector.name}`, async () => {
      const state = join(temporary.path, vector.name);
      for (const step of vector.steps) {
        const before = readState(state);
        const result = await run(vector, step, state);
        assert.deepEqual(facts(result), expected(vector, step));
        if (result.exit === 0 && step.expect !== 'no-update') assertInstalled(state, result);
        else {
          assert.deepEqual(readState(state).get('installed.json'), before.get('installed.json'));
        }
        if (result.exit === 20) assertRefused(result, { before, after: readState(state) });
      }
    });
  }
});

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

interface Result extends Spawned {
  readonly json: Facts & {
    readonly targets: readonly { ecu: string }[];
    readonly images: readonly object[];
    readonly roles: readonly { repo: string; role: string; status: string }[];
    readonly file: string | null;
    readonly remedy?: string;
    readonly steps: readonly { step: string; file?: string }[];
  };
}

async function run({ ecus }: Vector, step: VectorStep, state: string): Promise<Result> {
  const named = ecus.flatMap(({ serial, hardwareId }) => [
    ...['--ecu', serial, '--hardware-id', hardwareId],
  ]);
  const spawned = await spawnAgent([
    ...['verify', '--json', '--explain', '--director', step.director, '--image', step.image],
    ...['--state', state, ...named, '--time', '2026-11-21T00:00:00Z'],
  ]);
  assert.equal(spawned.stderr, '');
  return { ...spawned, json: JSON.parse(spawned.stdout) as Result['json'] };
}

function facts({ exit, json: { outcome, code, attack } }: Result): Facts {
  return { exit, outcome, code, attack };
}

/** What was refused is as it was, no image was looked at, and the operator is told what and where. */
function assertRefused(
  { json }: Result,
  { before, after: now }: Record<'before' | 'after', ReadonlyMap<string, string>>,
): void {
  assert.ok(json.file !== null && json.remedy !== undefined && json.remedy !== '');
  assert.deepEqual(json.images, []);
  assert.ok(json.steps.every(({ file }) => file?.includes('targets/') !== true));
  const refused = json.roles.filter(({ status }) => status === 'refused');
  for (const { repo, role } of refused) {
    // Kept before its end is looked at, so that the chain goes on from it (§5.4.4.3 steps 2.5 and 3).
    if (role === 'root' && json.code === 'METADATA_EXPIRED') continue;
    const path = `${repo}/${role}.json`;
    assert.equal(now.get(path), before.get(path));
  }
  if (!AGREEMENT.has(String(json.code))) assert.equal(refused.length, 1);
}

/** Every file is good by itself; the two repositories do not agree. */
const AGREEMENT = new Set(['TARGET_MISMATCH', 'TARGET_NOT_IN_IMAGE_REPO']);

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
function assertInstalled(state: string, { json: { targets } }: Result): void {
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
