/** Good vectors with something broken: refused, or exactly the verdict that was signed. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError, type Repo } from '../../agent/errors.ts';
import type { Answer, Verdict } from '../../agent/uptane/verify.ts';
import { MemoryDevice } from '../support/converse.ts';
import { NOW } from '../support/uptane-world.ts';
import { loadVectors, type Vector } from '../support/uptane-vectors.ts';

const NAMES = [
  'g04-simple-ed25519',
  'g06-two-ecu-ed25519',
  'g12-delegation-ed25519',
  'g24-targetcustom-json',
];
const vectors = loadVectors().filter(({ name }) => NAMES.includes(name));
type Files = ReadonlyMap<string, Uint8Array>;

assert.equal(vectors.length, NAMES.length);

for (const vector of vectors) {
  const files = filesOf(vector);
  const signed = run(vector, files);
  assert.ok(signed?.outcome === 'update');
  const names = [...files.keys()];
  const anyFile = fc.constantFrom(...names);

  describe(vector.name, () => {
    test('one changed byte anywhere is refused, or changes nothing', () => {
      fc.assert(
        fc.property(anyFile, fc.nat(), fc.integer({ min: 1, max: 255 }), (name, at, flip) => {
          const bytes = Buffer.from(files.get(name) ?? []);
          const index = at % bytes.length;
          bytes[index] = (bytes[index] ?? 0) ^ flip;
          expectNothingElse(run(vector, new Map(files).set(name, bytes)), signed);
        }),
        { numRuns: 150 },
      );
    });

    test('a file cut short anywhere is refused', () => {
      fc.assert(
        fc.property(anyFile, fc.nat(), (name, at) => {
          const bytes = files.get(name) ?? new Uint8Array();
          const short = new Map(files).set(name, bytes.subarray(0, at % bytes.length));
          expectNothingElse(run(vector, short), signed);
        }),
        { numRuns: 60 },
      );
    });

    test('files in the place of others, or missing, are refused', () => {
      for (const name of names) {
        for (const other of [...names, undefined]) {
          const swapped = new Map(files);
          if (other === undefined) swapped.delete(name);
          else swapped.set(name, files.get(other) ?? new Uint8Array());
          expectNothingElse(run(vector, swapped), signed);
        }
      }
    });

    test('a changed part of the signed content is refused, whatever it is', () => {
      const text = fc.constantFrom(
        'primary-hw',
        'primary-hw-1.0.bin',
        'PRIMARY-0001',
        '1024',
        'BINARY',
      );
      fc.assert(
        fc.property(anyFile, text, (name, part) => {
          const before = Buffer.from(files.get(name) ?? []).toString();
          const after = before.replace(part, part.replace(/[0-9A-Za-z]$/u, '7'));
          const changed = run(vector, new Map(files).set(name, Buffer.from(after)));
          if (after === before) assert.deepEqual(changed, signed);
          else assert.equal(changed, undefined);
        }),
        { numRuns: 40 },
      );
    });
  });
}

/** `undefined` for a refusal; anything that is no `OtaError` fails the test. */
function run({ ecus }: Vector, files: Files): Verdict | undefined {
  const serve = (repo: Repo, file: string): Answer => files.get(`${repo}/${file}`);
  const [director, image] = [serve('director', '1.root.json'), serve('image', '1.root.json')];
  if (director === undefined || image === undefined) return undefined;
  try {
    return new MemoryDevice({ director, image }, ecus, NOW).verify(serve);
  } catch (error) {
    assert.ok(isOtaError(error), String(error));
    return undefined;
  }
}

/** A Director without Timestamp is a lesser one, but no less signed; its roles are fewer. */
function expectNothingElse(verdict: Verdict | undefined, signed: Verdict): void {
  if (verdict === undefined) return;
  assert.deepEqual({ ...verdict, roles: [] }, { ...signed, roles: [] });
}

function filesOf({ steps: [step] }: Vector): Files {
  assert.ok(step);
  const files = new Map<string, Uint8Array>();
  for (const repo of ['director', 'image'] as const) {
    for (const name of readdirSync(step[repo], { recursive: true, encoding: 'utf8' })) {
      // `root.json` is served by tools of the field, and never asked for.
      if (!name.endsWith('.json') || name === 'root.json') continue;
      files.set(`${repo}/${name}`, readFileSync(join(step[repo], name)));
    }
  }
  return files;
}
