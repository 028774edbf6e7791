import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { formatState, parseState } from '../../../agent/cycle/state.ts';
import { hashesOf, type Body } from '../../support/build-metadata.ts';
import { directorTarget, imageTarget, PRIMARY, World } from '../../support/uptane-world.ts';

const UNCOMPRESSED = { length: 9, hashes: hashesOf('unpacked!') };
const PATH = 'image/targets.signed.targets.fw.bin.custom';

let world: World;
beforeEach(() => {
  world = new World();
});

function publish(custom: Body, director: Body = {}): void {
  const wanted = directorTarget('fw.bin', [PRIMARY]);
  const given = { ...(wanted['custom'] as Body), ...director };
  world.director.targets = { 'fw.bin': { ...wanted, custom: given } };
  world.image.targets = { 'fw.bin': imageTarget('fw.bin', [PRIMARY], custom) };
  world.publish();
}

describe('an image that is packed while it travels', () => {
  test('is installed as the Image repository declares it, and so after a power cut', () => {
    publish({ compression: 'zstd', uncompressed: UNCOMPRESSED });
    const { targets } = world.update();
    const compressed = {
      by: 'zstd',
      lengthBytes: 9,
      hashes: new Map(Object.entries(UNCOMPRESSED.hashes)),
    };
    assert.deepEqual(targets[0]?.compressed, compressed);
    const plan = { correlationId: undefined, targets };
    const state = parseState(formatState({ at: 'writing', plan, attempt: 1 }));
    assert.ok(state.at === 'writing');
    assert.deepEqual(state.plan.targets[0]?.compressed, compressed);
  });

  test('is not for a Director to declare', () => {
    publish({}, { compression: 'gzip', uncompressed: UNCOMPRESSED });
    assert.equal(world.update().targets[0]?.compressed, undefined);
  });

  const malformed: readonly (readonly [string, Body, string, string])[] = [
    [
      'a format that nobody here unpacks',
      { compression: 'lz4', uncompressed: UNCOMPRESSED },
      'compression',
      'gzip, xz, zstd',
    ],
    ['no format', { uncompressed: UNCOMPRESSED }, 'compression', 'gzip, xz, zstd'],
    ['no word of what it unpacks to', { compression: 'xz' }, 'uncompressed', 'length and hashes'],
    [
      'no length',
      { compression: 'xz', uncompressed: { ...UNCOMPRESSED, length: 0 } },
      'uncompressed.length',
      'an integer of at least 1',
    ],
    [
      'no hash',
      { compression: 'xz', uncompressed: { length: 9, hashes: {} } },
      'uncompressed.hashes',
      'sha256 or sha512',
    ],
  ];
  for (const [what, custom, field, want] of malformed) {
    test(`is refused with ${what}`, () => {
      publish(custom);
      world.refuses('METADATA_MALFORMED', { path: `${PATH}.${field}`, want }, [
        'director/timestamp',
        'director/snapshot',
        'director/targets',
        'image/timestamp',
        'image/snapshot',
        'image/targets',
      ]);
    });
  }
});
