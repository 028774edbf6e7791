/** `ota-agent verify` as the interface describes it: what it prints, what it takes. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { verifyCommand } from '../../agent/commands/verify.ts';
import { isOtaError } from '../../agent/errors.ts';
import { remedyOf } from '../../agent/remedies.ts';
import { FUTURE, hashesOf, PAST } from '../support/build-metadata.ts';
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

const ACCEPTED = { code: null, attack: null, details: null, file: null };

describe('what it prints', () => {
  test('an update: exit 0, and the targets', async () => {
    fixture.serve();
    const { exit, json, lines } = await fixture.run();
    assert.equal(exit, 0);
    const { roles, ...rest } = json;
    const images = [{ filename: 'fw-1.bin', status: 'absent' }];
    assert.deepEqual(rest, {
      ...{ outcome: 'update', ...ACCEPTED },
      ...{ targets: [target('fw-1.bin')], images },
    });
    assert.deepEqual(statuses(roles), [
      ...EVERY_ROLE.map((role) => `director ${role} accepted`),
      ...EVERY_ROLE.map((role) => `image ${role} accepted`),
    ]);
    const { sha256, sha512 } = hashesOf('fw-1.bin');
    const line = `  primary-1: fw-1.bin (8 bytes) sha256:${sha256} sha512:${sha512}`;
    assert.deepEqual(lines.slice(0, 2), ['update', line]);
    assert.equal(
      lines[2],
      `  director root: accepted, version 1, expires ${FUTURE}, 1 of 1 keys signed, 1 needed`,
    );
    assert.equal(lines.at(-1), '  image fw-1.bin: absent');
  });

  test('nothing to do: exit 0, no targets', async () => {
    fixture.world.director.targets = {};
    fixture.world.publish();
    fixture.serve();
    const { exit, json, lines } = await fixture.run();
    const { roles, ...rest } = json;
    assert.equal(exit, 0);
    assert.deepEqual(rest, { outcome: 'up-to-date', ...ACCEPTED, targets: [], images: [] });
    assert.equal(lines[0], 'up to date');
    assert.deepEqual(statuses(roles), [
      ...EVERY_ROLE.map((role) => `director ${role} accepted`),
      ...EVERY_ROLE.map((role) => `image ${role} not-checked`),
    ]);
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
    const { roles, ...rest } = json;
    assert.deepEqual(rest, {
      outcome: 'refused',
      code: 'METADATA_EXPIRED',
      attack: 'freeze',
      details,
      file: 'image/snapshot.json',
      location: fixture.at('image', 'snapshot.json'),
      expected: 'valid at 2026-11-21T00:00:00Z',
      found: `expired at ${PAST}`,
      remedy: remedyOf('METADATA_EXPIRED', details),
      hints: [],
      targets: [],
      images: [],
    });
    assert.deepEqual(statuses(roles).slice(4), [
      'image root accepted',
      'image timestamp accepted',
      'image snapshot refused',
      'image targets not-checked',
    ]);
    assert.match(lines.join('\n'), /^refused: METADATA_EXPIRED .*\n {2}looks like: freeze\n/u);
    assert.ok(lines.includes(`  file: ${fixture.at('image', 'snapshot.json')}`));
    assert.ok(lines.includes(`  what to do: ${remedyOf('METADATA_EXPIRED', details)}`));
  });

  test('a refusal that is no attack says so with null', async () => {
    fixture.serve();
    rmSync(fixture.at('image', 'timestamp.json'));
    const { exit, json } = await fixture.run();
    assert.equal(exit, 20);
    const { outcome, code, attack, details, file } = json;
    assert.deepEqual(
      { outcome, code, attack, details, file },
      {
        outcome: 'refused',
        code: 'METADATA_MISSING',
        attack: null,
        details: { repo: 'image', file: 'timestamp.json' },
        file: 'image/timestamp.json',
      },
    );
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

test('limits are those of a device that configures the same (endless data)', async () => {
  const { image } = fixture.world;
  const [entry] = Object.values(image.targets);
  assert.ok(entry !== undefined);
  for (let more = 0; more < 400; more += 1) image.targets[`more-${String(more)}.bin`] = entry;
  fixture.world.publish();
  fixture.serve();

  assert.equal((await fixture.run()).json['outcome'], 'update');
  const { exit, json } = await fixture.run(['--max-image-metadata', '64KiB']);

  assert.equal(exit, 20);
  assert.equal(json['code'], 'METADATA_TOO_LARGE');
  assert.deepEqual(json['details'], { repo: 'image', file: 'targets.json', maxBytes: 65_536 });
});

describe('usage', () => {
  const remedy = 'ota-agent verify --help';
  const ON_DISK = ['--director', 'd', '--image', 'i', '--ecu', 'a', '--hardware-id', 'b'];
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
    [
      '--director is a directory, or a URL that starts with http:// or https://',
      ['--director', 'ftp://host/d', '--image', 'i'],
    ],
    [
      '--image takes a URL without user name, password, query and fragment',
      ['--director', 'd', '--image', 'https://user:secret@host/i'],
    ],
    ['--ca is for https URLs, and there is none', [...ON_DISK, '--ca', 'ca.pem']],
    ['--images and --no-images contradict', [...ON_DISK, '--images', '--no-images']],
    ['--image-format is uptane or tuf, not tap', [...ON_DISK, '--image-format', 'tap']],
    [
      '--watch-expiry is a whole number from 0 to 36500, not soon',
      [...ON_DISK, '--watch-expiry', 'soon'],
    ],
    [
      '--max-image-metadata is a size from "64KiB" to "64MiB"',
      [...ON_DISK, '--max-image-metadata', '1KiB'],
    ],
    [
      '--max-root-metadata is a size from "64KiB" to "1MiB"',
      [...ON_DISK, '--max-root-metadata', 'large'],
    ],
    ['--timeout is a whole number from 1 to 3600, not 0', [...ON_DISK, '--timeout', '0']],
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

const EVERY_ROLE = ['root', 'timestamp', 'snapshot', 'targets'];

function statuses(roles: unknown): readonly string[] {
  const verdicts = roles as { repo: string; role: string; status: string }[];
  return verdicts.map(({ repo, role, status }) => `${repo} ${role} ${status}`);
}

function target(content: string): object {
  return {
    ecu: 'primary-1',
    filename: content,
    length: content.length,
    hashes: hashesOf(content),
  };
}
