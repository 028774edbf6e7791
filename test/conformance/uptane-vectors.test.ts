/** Every vector, through the same conversation that the daemon holds. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import type { Verdict } from '../../agent/uptane/verify.ts';
import { MemoryDevice } from '../support/converse.ts';
import { NOW } from '../support/uptane-world.ts';
import {
  CODE_OF_VECTOR,
  CODES_OF_SPEC_ERROR,
  loadVectors,
  served,
  UNKNOWN_KEY_TYPE,
  type Vector,
  type VectorStep,
} from '../support/uptane-vectors.ts';

const vectors = loadVectors();
const isAboutImage = ({ name }: Vector): boolean =>
  CODE_OF_VECTOR[name]?.startsWith('IMAGE_') === true;

/** These cannot start a chain of trust: no device ever gets as far as asking for something. */
const ABOUT_FIRST_ROOTS = /^b\d\d-(?:(?:no|bad)sig|foreignkey)-\w+-root$|^b46-/;

test('the vectors are all there, and every bad one has its code', () => {
  assert.equal(vectors.length, 57);
  const bad = vectors.filter(({ steps }) => steps.some(({ expect }) => expect === 'reject'));
  assert.deepEqual(
    bad.map(({ name }) => name).filter((name) => name !== UNKNOWN_KEY_TYPE),
    Object.keys(CODE_OF_VECTOR),
  );
});

for (const vector of vectors.filter(({ name }) => name !== UNKNOWN_KEY_TYPE)) {
  test(`${vector.name}: ${vector.description}`, () => {
    const [first] = vector.steps;
    if (first?.expect === 'reject' && ABOUT_FIRST_ROOTS.test(vector.name)) {
      assertRefusal(vector, first, () => openDevice(vector));
      return;
    }
    const device = openDevice(vector);
    for (const step of vector.steps) {
      const run = (): Verdict => device.update((repo, file) => served(step, repo, file));
      if (step.expect !== 'reject' || isAboutImage(vector)) {
        assert.equal(run().outcome, step.expect === 'no-update' ? 'up-to-date' : 'update');
        continue;
      }
      const before = new Map(device.trusted);
      assertRefusal(vector, step, run);
      assert.deepEqual(unlessKept(device, device.trusted), unlessKept(device, before));
    }
  });
}

describe('refusals keep nothing of the file that was refused', () => {
  const kept: Readonly<Record<string, readonly string[]>> = {
    'b02-expired-director-root': [],
    'b06-expired-image-snapshot': [
      'director/timestamp',
      'director/snapshot',
      'director/targets',
      'image/timestamp',
    ],
    'b18-director-repeated-ecu': ['director/timestamp', 'director/snapshot'],
    'b50-rollback-director-targets': ['director/timestamp', 'director/snapshot'],
    'b52-rollback-image-snapshot': ['director/timestamp', 'director/snapshot', 'director/targets'],
    'b60-rotation-not-signed-by-old': [],
    'b62-root-version-skip': [],
    'b64-rotation-revokes-targets-key': ['director/root'],
  };
  for (const vector of vectors.filter(({ name }) => name in kept)) {
    test(vector.name, () => {
      const device = openDevice(vector);
      for (const step of vector.steps) {
        const run = (): Verdict => device.update((repo, file) => served(step, repo, file));
        if (step.expect === 'reject') assertRefusal(vector, step, run);
        else run();
      }
      assert.deepEqual(device.kept, kept[vector.name]);
    });
  }
});

/**
 * The reference client refuses the whole root. Keys of unknown types can only be introduced if older
 * devices ignore them (TUF specification §4.2), and one that counts for nothing does no harm.
 */
test(`${UNKNOWN_KEY_TYPE}: a key of an unknown type that no role needs is ignored (R8)`, () => {
  const vector = vectors.find(({ name }) => name === UNKNOWN_KEY_TYPE);
  assert.ok(vector);
  const [step] = vector.steps;
  assert.ok(step);
  assert.deepEqual(
    { expect: step.expect, specError: step.specError },
    { expect: 'reject', specError: 'UnsupportedKeyType' },
  );
  const verdict = openDevice(vector).update((repo, file) => served(step, repo, file));
  assert.equal(verdict.outcome, 'update');
});

function openDevice({ ecus, steps: [first] }: Vector): MemoryDevice {
  assert.ok(first);
  const director = served(first, 'director', '1.root.json');
  const image = served(first, 'image', '1.root.json');
  assert.ok(director && image);
  return new MemoryDevice({ director, image }, ecus, NOW);
}

/** Our code, and one that fits what the reference client calls it. */
function assertRefusal({ name }: Vector, { specError }: VectorStep, run: () => unknown): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(isOtaError(error), String(error));
    assert.equal(error.code, CODE_OF_VECTOR[name]);
    return CODES_OF_SPEC_ERROR[String(specError)]?.includes(error.code) === true;
  });
}

/** Trusted state without what this run had good reason to replace. */
function unlessKept(
  { kept }: MemoryDevice,
  state: ReadonlyMap<string, Uint8Array>,
): ReadonlyMap<string, Uint8Array> {
  return new Map([...state].filter(([name]) => !kept.includes(name)));
}
