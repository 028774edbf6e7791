/** `ota-agent verify` as the interface describes it: what it prints, what it takes. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { verifyCommand } from '../../agent/commands/verify.ts';
import { isOtaError } from '../../agent/errors.ts';
import { hashesOf, PAST } from '../support/build-metadata.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { PRIMARY, SECONDARY, World } from '../support/uptane-world.ts';
import { VerifyFixture } from '../support/verify-fixture.ts';

let fixture: VerifyFixture;
beforeEach(() => {
  fixture = new VerifyFixture();
  fixture.world.release('fw-1.bin');
});
afterEach(() => {
  fixture.remove();
});

const ACCEPTED = { code: null, attack: null, details: null };

describe('what it prints', () => {
  test('an update: exit 0, and the targets', async () => {
    fixture.serve();
    const { exit, json, lines } = await fixture.run();
    assert.equal(exit, 0);
    assert.deepEqual(json, { outcome: 'update', ...ACCEPTED, targets: [target('fw-1.bin')] });
    const { sha256, sha512 } = hashesOf('fw-1.bin');
    const line = `  primary-1: fw-1.bin (8 bytes) sha256:${sha256} sha512:${sha512}`;
    assert.deepEqual(lines, ['update', line]);
  });

  test('nothing to do: exit 0, no targets', async () => {
    fixture.world.director.targets = {};
    fixture.world.publish();
    fixture.serve();
    const { exit, json, lines } = await fixture.run();
    assert.deepEqual(
      { exit, json, lines },
      {
        exit: 0,
        json: { outcome: 'up-to-date', ...ACCEPTED, targets: [] },
        lines: ['up to date'],
      },
    );
  });

  test('a refusal: exit 20, code, attack and details (P10)', async () => {
    fixture.world.image.expires.snapshot = PAST;
    fixture.world.publish();
    fixture.serve();
    const { exit, json, lines } = await fixture.run();
    const details = {
      repo: 'image',
      role: 'snapshot',
      expiresAt: PAST,
      nowAt: '2026-11-21T00:00:00Z',
    };
    assert.equal(exit, 20);
    assert.deepEqual(json, {
      outcome: 'refused',
      code: 'METADATA_EXPIRED',
      attack: 'freeze',
      details,
      targets: [],
    });
    assert.match(lines.join('\n'), /^refused: METADATA_EXPIRED .*\n {2}looks like: freeze$/u);
  });

  test('a refusal that is no attack says so with null', async () => {
    fixture.serve();
    rmSync(fixture.at('image', 'timestamp.json'));
    const { exit, json } = await fixture.run();
    assert.equal(exit, 20);
    assert.deepEqual(json, {
      outcome: 'refused',
      code: 'METADATA_MISSING',
      attack: null,
      details: { repo: 'image', file: 'timestamp.json' },
      targets: [],
    });
  });

  test('the name of the update, and targets in the order the ECUs were named in', async () => {
    fixture.world = new World([PRIMARY, SECONDARY]);
    fixture.world.director.custom = { correlationId: 'urn:here-ota:mtu:1' };
    fixture.world.release('s.bin', [SECONDARY]);
    fixture.world.release('p.bin', [PRIMARY]);
    fixture.serve();
    const { json } = await fixture.run([], [PRIMARY, SECONDARY]);
    const targets = json['targets'] as { ecu: string }[];
    assert.equal(json['correlationId'], 'urn:here-ota:mtu:1');
    assert.deepEqual(
      targets.map(({ ecu }) => ecu),
      ['primary-1', 'secondary-1'],
    );
  });
});

describe('time and roots', () => {
  test('--time replaces the clock, with or without offset (T4)', async () => {
    fixture.serve();
    const late = ['--time', '2038-01-01T01:00:00+01:00'];
    assert.equal((await fixture.run(late)).exit, 20);
  });

  test('the clock is the time without it', async () => {
    fixture.serve();
    const { exit } = await verifyCommand([
      ...['--director', fixture.at('director'), '--image', fixture.at('image')],
      ...['--ecu', PRIMARY.serial, '--hardware-id', PRIMARY.hardwareId],
    ]);
    assert.equal(exit, 0);
  });

  test('--roots pins other roots than are served (R1)', async () => {
    fixture.serve();
    cpSync(fixture.at('director', '1.root.json'), fixture.at('pinned-director.json'));
    cpSync(fixture.at('image', '1.root.json'), fixture.at('pinned-image.json'));
    rmSync(fixture.at('director', '1.root.json'));
    const roots = ['--roots', fixture.at('pinned-director.json'), fixture.at('pinned-image.json')];
    assert.equal((await fixture.run(roots)).json['outcome'], 'update');
    fixture.write('pinned-image.json', new World().image.file('1.root.json'));
    const { json } = await fixture.run(roots);
    assert.equal(json['code'], 'THRESHOLD_NOT_MET');
  });
});

describe('usage', () => {
  const remedy = 'ota-agent verify --help';
  const wrong: readonly (readonly [what: string, args: readonly string[]])[] = [
    ['--director DIR and --image DIR are needed', ['--ecu', 'a', '--hardware-id', 'b']],
    ['--ecu SERIAL and --hardware-id ID are needed, in pairs', ['--director', 'd', '--image', 'i']],
    [
      '--ecu SERIAL and --hardware-id ID are needed, in pairs',
      ['--director', 'd', '--image', 'i', '--ecu', 'a', '--ecu', 'b', '--hardware-id', 'c'],
    ],
    [
      'the same --ecu is named twice',
      [
        ...['--director', 'd', '--image', 'i'],
        ...['--ecu', 'a', '--hardware-id', 'b', '--ecu', 'a', '--hardware-id', 'b'],
      ],
    ],
    [
      '--time is not an ISO 8601 instant: tomorrow',
      ['--director', 'd', '--image', 'i', '--ecu', 'a', '--hardware-id', 'b', '--time', 'tomorrow'],
    ],
    ['--roots takes two files: Director, Image repository', ['--roots', 'one']],
    ['--roots takes two files: Director, Image repository', ['--roots', 'one', '--no-images']],
  ];
  for (const [what, args] of wrong) {
    test(`${what}: ${args.join(' ')}`, async () => {
      await rejectsCode(verifyCommand(args), 'USAGE', { what, remedy });
    });
  }

  test('unknown options and stray words are refused', async () => {
    for (const args of [['--no-such-thing'], ['stray']]) {
      await assert.rejects(
        verifyCommand(args),
        (error) => isOtaError(error) && error.code === 'USAGE',
      );
    }
  });

  test('a directory that is not there is named', async () => {
    fixture.serve();
    rmSync(fixture.at('image'), { recursive: true });
    await rejectsCode(fixture.run(), 'FILE_UNREADABLE', {
      path: fixture.at('image'),
      what: 'repository or state',
      cause: 'no such directory',
      remedy: 'check the path and who may read it',
    });
  });
});

function target(content: string): object {
  return {
    ecu: 'primary-1',
    filename: content,
    length: content.length,
    hashes: hashesOf(content),
  };
}
