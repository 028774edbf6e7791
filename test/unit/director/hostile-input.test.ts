import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { Refusal } from '../../director/failure.ts';
import { registerEcus } from '../../director/gateway/ecus.ts';
import { planDownload } from '../../director/gateway/images.ts';
import { verifyManifest } from '../../director/gateway/manifest.ts';
import type { Json, JsonMap } from '../../director/json/canonical-json.ts';
import { JsonReader, parseJson } from '../../director/json/read-json.ts';
import { createEcu, registration, reportedManifest } from '../../director/simulated/ecus.ts';
import type { Device } from '../../director/state/devices.ts';
import { refuses } from './refuses.ts';

const NEW: Device = {
  id: 'device-1',
  firstSeenAt: '2026-01-01T00:00:00.000Z',
  ecus: [],
  retiredSerials: [],
  installed: {},
  telemetry: {},
};
const ECUS = [createEcu('primary-1', 'hw'), createEcu('secondary-1', 'hw')];
const REGISTRATION = registration(ECUS);
const DEVICE = registerEcus(NEW, new JsonReader(REGISTRATION), 'forbidden').device;
const MANIFEST = reportedManifest(ECUS, { counter: 1 });

const json = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;

/** Any document with one member, somewhere, replaced or left out. */
function damaged(document: JsonMap): fc.Arbitrary<Json> {
  const paths = pathsOf(document, []);
  return fc
    .tuple(fc.constantFrom(...paths), fc.option(json, { nil: undefined }))
    .map(([path, value]) => replaced(document, path, value));
}

describe('what devices send', () => {
  test('is read, or refused with a status of 400 to 499: nothing else ever happens', () => {
    const bodies = fc.oneof(json, damaged(MANIFEST), damaged(REGISTRATION));
    fc.assert(
      fc.property(bodies, (body) => {
        const text = JSON.stringify(body);
        onlyRefuses(() => verifyManifest(DEVICE, parseJson(text)));
        onlyRefuses(() => registerEcus(NEW, new JsonReader(parseJson(text)), 'forbidden'));
        onlyRefuses(() => registerEcus(DEVICE, new JsonReader(parseJson(text)), 'allowed'));
      }),
      { numRuns: 500 },
    );
  });

  test('is never a valid manifest once a signed member was changed', () => {
    fc.assert(
      fc.property(damaged({ signed: MANIFEST['signed'] ?? null }), (body) => {
        const forged = { ...MANIFEST, ...(body as JsonMap) };
        fc.pre(JSON.stringify(forged) !== JSON.stringify(MANIFEST));
        const text = JSON.stringify(forged);
        assert.throws(() => verifyManifest(DEVICE, parseJson(text)), Refusal);
      }),
    );
  });

  test('is JSON in UTF-8 with exact integers, or is refused', () => {
    assert.deepEqual(parseJson('{"a":[9007199254740991,1.5,null]}'), {
      a: [2 ** 53 - 1, 1.5, null],
    });
    for (const body of ['', '{', '{"a":9007199254740993}', '[1e400]', '-1e30', 'NaN']) {
      refuses(() => parseJson(body), 400, 'json_malformed');
    }
    refuses(() => parseJson(Buffer.from([0x22, 0xff, 0x22])), 400, 'json_malformed');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        onlyRefuses(() => parseJson(bytes));
      }),
    );
  });
});

test('what devices send may be nested as deep as it likes: it is refused', () => {
  for (const depth of [1000, 5000, 10_000, 100_000]) {
    const nested = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    const body = JSON.stringify(MANIFEST).replace('"unknown"', nested);
    onlyRefuses(() => verifyManifest(DEVICE, parseJson(body)));
  }
});

describe('ranges of an image (RFC 9110 §14)', () => {
  const image = {
    filename: 'x',
    hardwareIds: [],
    format: 'BINARY',
    custom: {},
    lengthBytes: 1000,
    sha256: '',
    sha512: '',
  };

  const nothing = (): AsyncIterable<Buffer> => Readable.from([]);

  test('are always within it, and say so', () => {
    const part = fc.oneof(fc.nat(2000).map(String), fc.constant(''), fc.string());
    fc.assert(
      fc.property(part, part, (first, last) => {
        onlyRefuses(() => {
          const plan = planDownload(image, `bytes=${first}-${last}`, nothing);
          const lengthBytes = plan.lengthBytes ?? -1;
          assert.ok(plan.offsetBytes >= 0 && lengthBytes > 0);
          assert.ok(plan.offsetBytes + lengthBytes <= 1000);
          const end = plan.offsetBytes + lengthBytes - 1;
          const told = `bytes ${String(plan.offsetBytes)}-${String(end)}/1000`;
          if (plan.range === undefined) assert.equal(lengthBytes, 1000);
          else assert.equal(plan.range, told);
        });
      }),
    );
  });

  test('of an image without bytes are never satisfiable', () => {
    const empty = { ...image, lengthBytes: 0 };
    assert.equal(planDownload(empty, undefined, nothing).lengthBytes, 0);
    refuses(() => planDownload(empty, 'bytes=0-', nothing), 416, 'range_not_satisfiable');
  });
});

function onlyRefuses(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Refusal) || error.status < 400 || error.status > 499) throw error;
  }
}

function pathsOf(value: Json, path: readonly string[]): readonly (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  const below = Object.entries(value).flatMap(([name, member]) => pathsOf(member, [...path, name]));
  return path.length === 0 ? below : [path, ...below];
}

function replaced(value: Json, path: readonly string[], by: Json | undefined): Json {
  const [name, ...rest] = path;
  if (name === undefined) return by ?? null;
  const copy = structuredClone(value) as Record<string, Json>;
  const isLast = rest.length === 0;
  if (isLast && by === undefined) Reflect.deleteProperty(copy, name);
  else copy[name] = isLast ? (by ?? null) : replaced(copy[name] ?? null, rest, by);
  return copy;
}
