import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { matchTarget } from '../../../agent/uptane/match.ts';
import type { Target } from '../../../agent/uptane/plan.ts';
import { fileInfo, hashesOf, type Body } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';
import {
  directorTarget,
  imageTarget,
  PRIMARY,
  SECONDARY,
  World,
} from '../../support/uptane-world.ts';

const KEPT = [
  'director/timestamp',
  'director/snapshot',
  'director/targets',
  'image/timestamp',
  'image/snapshot',
  'image/targets',
];

let world: World;
beforeEach(() => {
  world = new World();
});

/** The Director wants `fw.bin`; what does the Image repository say about it? */
function publish(image: Body, director: Body = directorTarget('fw.bin', [PRIMARY])): void {
  world.director.targets = { 'fw.bin': director };
  world.image.targets = { 'fw.bin': image };
  world.publish();
}

function mismatch(field: string, director: string, image: string): void {
  world.refuses('TARGET_MISMATCH', { filename: 'fw.bin', field, director, image }, KEPT);
}

describe('Director against Image repository (§5.4.4.2 step 10)', () => {
  test('every image needs an entry of exactly the same name (M1)', () => {
    world.assign('fw.bin');
    world.image.targets = {
      'FW.bin': imageTarget('fw.bin', [PRIMARY]),
      './fw.bin': imageTarget('fw.bin', [PRIMARY]),
    };
    world.publish();
    world.refuses('TARGET_NOT_IN_IMAGE_REPO', { filename: 'fw.bin', searched: 'targets' }, KEPT);
  });

  test('so does one that runs already, if anything at all is to be installed (M1)', () => {
    world = new World([PRIMARY, SECONDARY]);
    world.release('p.bin', [PRIMARY]);
    world.update();
    delete world.image.targets['p.bin'];
    world.release('s.bin', [SECONDARY]);
    world.refuses('TARGET_NOT_IN_IMAGE_REPO', { filename: 'p.bin', searched: 'targets' }, KEPT);
  });

  test('the lengths have to be equal (M2)', () => {
    publish({ ...imageTarget('fw.bin', [PRIMARY]), length: 7 });
    mismatch('length', '6', '7');
  });

  for (const algorithm of ['sha256', 'sha512'] as const) {
    test(`every hash that both list has to be equal: ${algorithm} (M2)`, () => {
      const hashes = { ...hashesOf('fw.bin'), [algorithm]: hashesOf('evil')[algorithm] };
      publish({ ...imageTarget('fw.bin', [PRIMARY]), hashes });
      mismatch(algorithm, hashesOf('fw.bin')[algorithm], hashesOf('evil')[algorithm]);
    });
  }

  test('a hash that only one side lists is no contradiction (M2)', () => {
    const { sha256 } = hashesOf('fw.bin');
    publish({ ...imageTarget('fw.bin', [PRIMARY]), hashes: { sha256 } });
    const { targets } = world.update();
    assert.deepEqual(Object.fromEntries(targets[0]?.hashes ?? []), hashesOf('fw.bin'));
  });

  test('the image has to have every hash that either repository lists (M2, V7)', () => {
    const { sha256, sha512 } = hashesOf('fw.bin');
    publish(
      { ...imageTarget('fw.bin', [PRIMARY]), hashes: { sha256, sha512: sha512.toUpperCase() } },
      { ...directorTarget('fw.bin', [PRIMARY]), hashes: { sha256 } },
    );
    const { targets } = world.update();
    assert.deepEqual(Object.fromEntries(targets[0]?.hashes ?? []), hashesOf('fw.bin'));
    // What both list says that it runs, even where the Director lists less.
    assert.equal(world.update().outcome, 'up-to-date');
  });

  test('an OSTree commit is a target without bytes, named by its sha256 alone (M2)', () => {
    const { sha256 } = hashesOf('commit');
    const commit = { length: 0, hashes: { sha256 } };
    const { custom: ofImage } = imageTarget('', [PRIMARY], { targetFormat: 'OSTREE' });
    const ofDirector = directorTarget('', [PRIMARY])['custom'] as Body;
    publish(
      { ...commit, custom: ofImage },
      { ...commit, custom: { ...ofDirector, targetFormat: 'OSTREE' } },
    );
    const [target]: readonly Target[] = world.update().targets;
    const { format, lengthBytes, hashes } = target ?? assert.fail('no target');
    assert.deepEqual([format, lengthBytes, hashes], ['OSTREE', 0, new Map([['sha256', sha256]])]);
  });

  test('no hash in common is one (M2)', () => {
    const { sha256, sha512 } = hashesOf('fw.bin');
    publish(
      { ...imageTarget('fw.bin', [PRIMARY]), hashes: { sha256 } },
      { ...directorTarget('fw.bin', [PRIMARY]), hashes: { sha512 } },
    );
    mismatch('hashes', 'sha512', 'sha256');
  });

  test('hashes that nobody here can compute do not count, and may not stand alone (M2)', () => {
    const md5 = 'd41d8cd98f00b204e9800998ecf8427e';
    publish({ ...imageTarget('fw.bin', [PRIMARY]), hashes: { ...hashesOf('fw.bin'), md5 } });
    assert.equal(world.update().outcome, 'update');
    world = new World();
    publish({ ...imageTarget('fw.bin', [PRIMARY]), hashes: { md5 } });
    world.refuses(
      'METADATA_MALFORMED',
      { path: 'image/targets.signed.targets.fw.bin.hashes', want: 'sha256 or sha512' },
      KEPT.slice(0, -1),
    );
  });

  test('hexadecimal digits count without regard to case (M2)', () => {
    const sha256 = hashesOf('fw.bin').sha256.toUpperCase();
    publish({ ...imageTarget('fw.bin', [PRIMARY]), hashes: { sha256 } });
    assert.equal(world.update().outcome, 'update');
  });

  test('the image has to be made for the hardware it is assigned to (M3, G11)', () => {
    publish(imageTarget('fw.bin', [SECONDARY]));
    mismatch('hardwareIds', 'hw-primary', 'hw-secondary');
  });

  test('an image that names no hardware is made for none (M3, G11)', () => {
    publish(fileInfo('fw.bin'));
    mismatch('hardwareIds', 'hw-primary', '');
    publish(imageTarget('fw.bin', [SECONDARY, { ...SECONDARY, hardwareId: 'hw-third' }]));
    mismatch('hardwareIds', 'hw-primary', 'hw-secondary,hw-third');
  });

  test('an image may be made for more hardware than it is assigned to (M3)', () => {
    publish(imageTarget('fw.bin', [SECONDARY, PRIMARY]));
    assert.equal(world.update().outcome, 'update');
  });

  test('the format is what the Director says, or else the Image repository', () => {
    const [director, image] = [
      directorTarget('fw.bin', [PRIMARY]),
      imageTarget('fw.bin', [PRIMARY]),
    ];
    const formats = (own: unknown, signed: unknown): string | undefined => {
      const custom = (target: Body, targetFormat: unknown): Body => {
        return { ...target, custom: { ...(target['custom'] as Body), targetFormat } };
      };
      publish(custom(image, signed), custom(director, own));
      return world.device.verify(world.serve).targets[0]?.format;
    };
    assert.equal(formats('OSTREE', 'BINARY'), 'OSTREE');
    assert.equal(formats(null, 'BINARY'), 'BINARY');
    assert.equal(formats(null, null), undefined);
  });

  test('release counters that both list have to be equal (M3)', () => {
    publish(
      imageTarget('fw.bin', [PRIMARY], { releaseCounter: 3 }),
      directorTarget('fw.bin', [PRIMARY], { releaseCounter: 4 }),
    );
    mismatch('releaseCounter', '4', '3');
    publish(
      imageTarget('fw.bin', [PRIMARY], { releaseCounter: 3 }),
      directorTarget('fw.bin', [PRIMARY], { releaseCounter: 3 }),
    );
    assert.equal(world.update().targets[0]?.releaseCounter, 3);
  });

  test('a counter that only the Director claims is a mismatch: it could lock releases out (M3)', () => {
    publish(
      imageTarget('fw.bin', [PRIMARY]),
      directorTarget('fw.bin', [PRIMARY], { releaseCounter: 4 }),
    );
    mismatch('releaseCounter', '4', 'none');
  });

  test('a counter that only the Image repository lists counts (M3, M4)', () => {
    publish(imageTarget('fw.bin', [PRIMARY], { releaseCounter: 4 }));
    assert.equal(world.update().targets[0]?.releaseCounter, 4);
  });
});

describe('release counters never go down on an ECU (M4, V5)', () => {
  beforeEach(() => {
    release('fw-5.bin', 5);
    assert.equal(world.update().outcome, 'update');
  });

  test('an equal or higher one is accepted (M4, V5)', () => {
    release('fw-5b.bin', 5);
    assert.equal(world.update().outcome, 'update');
    release('fw-6.bin', 6);
    assert.equal(world.update().outcome, 'update');
  });

  test('a lower one is refused, though both repositories signed it (M4, V5)', () => {
    release('fw-4.bin', 4);
    const counters = { ecu: 'primary-1', filename: 'fw-4.bin', trusted: 5, offered: 4 };
    world.refuses('RELEASE_COUNTER_ROLLBACK', counters, KEPT);
  });

  test('an image from before there were counters is refused (M4, V5)', () => {
    release('fw-0.bin', undefined);
    const counters = { ecu: 'primary-1', filename: 'fw-0.bin', trusted: 5, offered: 0 };
    world.refuses('RELEASE_COUNTER_ROLLBACK', counters, KEPT);
  });

  test('one repository with a counter does not excuse another without (M3, M4)', () => {
    world.director.targets = { 'fw-4.bin': directorTarget('fw-4.bin', [PRIMARY]) };
    world.image.targets = { 'fw-4.bin': imageTarget('fw-4.bin', [PRIMARY], { releaseCounter: 4 }) };
    world.publish();
    const counters = { ecu: 'primary-1', filename: 'fw-4.bin', trusted: 5, offered: 4 };
    world.refuses('RELEASE_COUNTER_ROLLBACK', counters, KEPT);
  });

  test("one ECU's counter is not another's (M4, V5)", () => {
    const installed = world.device.inventory[0]?.installed;
    assert.ok(installed);
    world.device.inventory = [{ ...PRIMARY, installed }, SECONDARY];
    world.release('s-1.bin', [SECONDARY], { releaseCounter: 1 });
    assert.deepEqual(
      world.update().targets.map(({ ecu, releaseCounter }) => [ecu, releaseCounter]),
      [['secondary-1', 1]],
    );
  });

  function release(filename: string, releaseCounter: number | undefined): void {
    world.release(filename, [PRIMARY], releaseCounter === undefined ? {} : { releaseCounter });
  }
});

describe('after going back by hand from release 6 to 5 (M4, V5)', () => {
  const COUNTERS = { ecu: 'primary-1', trusted: 6 } as const;

  beforeEach(() => {
    offer('fw-5.bin', 5);
    world.update();
    world.device.inventory = world.device.inventory.map((ecu) => ({
      ...ecu,
      highestReleaseCounter: 6,
    }));
  });

  test('the Director may agree to what runs: nothing is installed (M4, V5)', () => {
    offer('fw-5.bin', 5, { releaseCounter: 5 });
    assert.equal(world.update().outcome, 'up-to-date');
  });

  test('what runs may be verified again beside an update of another ECU (M4, M1)', () => {
    world.device.inventory = [...world.device.inventory, SECONDARY];
    world.release('s.bin', [SECONDARY]);
    assert.deepEqual(
      world.update().targets.map(({ ecu }) => ecu),
      ['secondary-1'],
    );
  });

  test('another image of release 5 is refused: the Director could bring back any (M4, V5)', () => {
    offer('fw-5b.bin', 5);
    const details = { ...COUNTERS, filename: 'fw-5b.bin', offered: 5 };
    world.refuses('RELEASE_COUNTER_ROLLBACK', details, KEPT);
  });

  test('so is one that only has the name of what runs (M4, V5)', () => {
    world.director.targets = { 'fw-5.bin': directorTarget('other', [PRIMARY]) };
    world.image.targets = {
      'fw-5.bin': imageTarget('other', [PRIMARY], { releaseCounter: 5 }),
    };
    world.publish();
    const details = { ...COUNTERS, filename: 'fw-5.bin', offered: 5 };
    world.refuses('RELEASE_COUNTER_ROLLBACK', details, KEPT);
  });

  test('a Director that says so itself is refused before it is believed (M4, V5)', () => {
    offer('fw-5b.bin', 5, { releaseCounter: 5 });
    const details = { ...COUNTERS, filename: 'fw-5b.bin', offered: 5 };
    world.refuses('RELEASE_COUNTER_ROLLBACK', details, KEPT.slice(0, 2));
  });

  test('release 6 may come again, and 7 (M4, V5)', () => {
    offer('fw-6.bin', 6);
    assert.equal(world.update().outcome, 'update');
    offer('fw-7.bin', 7);
    assert.equal(world.update().outcome, 'update');
  });

  function offer(filename: string, releaseCounter: number, ecuFields: Body = {}): void {
    world.director.targets = { [filename]: directorTarget(filename, [PRIMARY], ecuFields) };
    world.image.targets = { [filename]: imageTarget(filename, [PRIMARY], { releaseCounter }) };
    world.publish();
  }
});

describe('what a trusted target carries', () => {
  const uriOf = (director: Body, image: Body): string | undefined => {
    world = new World();
    const target = directorTarget('fw.bin', [PRIMARY]);
    const custom = { ...(target['custom'] as Body), ...director };
    publish(imageTarget('fw.bin', [PRIMARY], image), { ...target, custom });
    return world.update().targets[0]?.uri;
  };

  test("the address is the Director's, else the Image repository's, else none", () => {
    const [a, b] = ['https://a.test/fw', 'https://b.test/fw'];
    assert.equal(uriOf({ uri: a }, { uri: b }), a);
    assert.equal(uriOf({}, { uri: b }), b);
    assert.equal(uriOf({ uri: '' }, { uri: b }), b);
    assert.equal(uriOf({ uri: null }, {}), undefined);
  });

  test('the placeholder address of old tools is no address', () => {
    assert.equal(uriOf({ uri: 'https://example.com/' }, {}), undefined);
  });

  test('ECU, hardware, name, length, hashes and format are what both repositories signed (V1, V2)', () => {
    publish(imageTarget('fw.bin', [PRIMARY]));
    assert.deepEqual(world.update().targets, [
      {
        ecu: 'primary-1',
        hardwareId: 'hw-primary',
        filename: 'fw.bin',
        lengthBytes: 6,
        hashes: new Map(Object.entries(hashesOf('fw.bin'))),
        format: 'BINARY',
      },
    ]);
  });
});

test('an ECU that an image is not assigned to is never asked about: an error of ours', () => {
  const hashes = new Map([['sha256', hashesOf('x').sha256]] as const);
  const image = { lengthBytes: 1, hashes, custom: undefined };
  const assignment = {
    ...{ filename: 'x', lengthBytes: 1, hashes, uri: undefined, format: undefined },
    ecus: new Map(),
  };
  const what = 'primary-1 is not assigned';
  throwsCode(() => matchTarget(assignment, image, PRIMARY), 'BUG', { what });
});
