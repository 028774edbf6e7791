/** What `ota-agent verify` says beside the verdict: steps, roles, expiry and hints. */
import assert from 'node:assert/strict';
import { copyFileSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { ed25519, PAST } from '../support/build-metadata.ts';
import { TufRepository } from '../support/tuf-repository.ts';
import { PRIMARY, SECONDARY, imageTarget } from '../support/uptane-world.ts';
import { VerifyFixture, type VerifyResult } from '../support/verify-fixture.ts';

let fixture: VerifyFixture;
beforeEach(() => {
  fixture = new VerifyFixture();
  fixture.world.release('fw-1.bin');
});
afterEach(() => {
  fixture.remove();
});

type Row = Readonly<Record<string, string | number | null>>;
const rows = (result: VerifyResult, name: string): readonly Row[] => result.json[name] as Row[];
const role = (result: VerifyResult, repo: string, name: string): Row | undefined =>
  rows(result, 'roles').find((row) => row['repo'] === repo && row['role'] === name);
const stepsAbout = (result: VerifyResult, name: string): readonly string[] =>
  rows(result, 'steps')
    .filter(
      ({ repo, role: of, file }) => repo === 'image' && (of ?? file)?.toString().startsWith(name),
    )
    .map(({ step, check, clause }) => [step, check, clause].filter(Boolean).join(' '));

describe('--explain', () => {
  test('names every question, answer, check with its clause, and what was kept (T1 to T4, S1 to S7)', async () => {
    fixture.serve();
    const result = await fixture.run(['--explain']);
    assert.deepEqual(stepsAbout(result, 'timestamp'), [
      'ask',
      'answer',
      'check threshold §5.4.4.4 step 2',
      'check not-older §5.4.4.4 step 3',
      'check not-expired §5.4.4.4 step 4',
      'accept',
      'keep',
    ]);
    assert.deepEqual(stepsAbout(result, 'targets'), [
      'ask',
      'answer',
      'check hashes §5.4.4.6 step 2',
      'check threshold §5.4.4.6 step 3',
      'check not-older §5.4.4.6 step 4',
      'check listed-version §5.4.4.6 step 2',
      'check not-expired §5.4.4.6 step 5',
      'accept',
      'keep',
    ]);
    const last = rows(result, 'steps').at(-1);
    assert.deepEqual(
      [last?.['check'], last?.['clause'], last?.['filename'], last?.['ecu']],
      ['match', '§5.4.4.2 step 10', 'fw-1.bin', 'primary-1'],
    );
    assert.equal(result.notes?.length, rows(result, 'steps').length);
    assert.match(result.notes[0] ?? '', /^ {2}1 ask {4}director\/1\.root\.json maxBytes=65536$/u);
  });

  test('stops where the verdict falls: the check that failed is not among those that held (P10)', async () => {
    fixture.world.image.expires.snapshot = PAST;
    fixture.world.publish();
    fixture.serve();
    const result = await fixture.run(['--explain']);
    assert.deepEqual(stepsAbout(result, 'snapshot').slice(-2), [
      'check not-older §5.4.4.5 step 4',
      'check listed-version §5.4.4.5 step 2',
    ]);
    const { step, code } = rows(result, 'steps').at(-1) ?? {};
    assert.deepEqual([step, code], ['stop', 'METADATA_EXPIRED']);
  });

  test('says when a role is believed as it was kept, and when the Director wants nothing new (F6)', async () => {
    fixture.serve();
    await fixture.run(fixture.withState);
    const again = await fixture.run([...fixture.withState, '--explain']);
    const checks = rows(again, 'steps').map(
      ({ role: of, check }) => `${String(of)} ${String(check)}`,
    );
    assert.ok(checks.includes('targets still-current'));
    assert.equal(checks.at(-1), 'targets nothing-new');
    assert.ok(!rows(again, 'steps').some(({ repo }) => repo === 'image'));
  });

  test('is not there unless it is asked for', async () => {
    fixture.serve();
    const result = await fixture.run();
    assert.deepEqual([result.json['steps'], result.notes], [undefined, undefined]);
  });
});

describe('roles', () => {
  test('have the signatures that counted, those needed, and the keys there are (R3, G3)', async () => {
    const { image } = fixture.world;
    image.keys.targets = [ed25519(), ed25519(), ed25519()];
    image.threshold.targets = 2;
    image.publishRoot();
    image.publish();
    fixture.serve();
    const accepted = await fixture.run();
    assert.deepEqual(role(accepted, 'image', 'targets'), {
      ...{ repo: 'image', role: 'targets', version: 2, expires: '2037-12-31T23:59:59Z' },
      ...{ signatures: { valid: 3, threshold: 2, keys: 3 }, status: 'accepted' },
    });
    assert.equal(role(accepted, 'image', 'root')?.['version'], 2);
  });

  test('that the Director rules refuse are refused, though their signatures are good (G8)', async () => {
    fixture.world.director.targets = {};
    fixture.world.release('s.bin', [SECONDARY]);
    fixture.serve();
    const refused = await fixture.run();
    assert.equal(refused.json['code'], 'ECU_UNKNOWN');
    assert.equal(refused.json['file'], 'director/targets.json');
    assert.equal(role(refused, 'director', 'targets')?.['status'], 'refused');
    assert.equal(role(refused, 'director', 'snapshot')?.['status'], 'accepted');
    assert.match(String(refused.json['hints']), /add --ecu secondary-1 --hardware-id ID/u);
  });

  test('are all good where only the two repositories do not agree (M1, M2)', async () => {
    fixture.world.assign('fw-1.bin', [PRIMARY], 'another content');
    fixture.world.publish();
    fixture.serve();
    const refused = await fixture.run();
    assert.equal(refused.json['code'], 'TARGET_MISMATCH');
    assert.equal(refused.json['file'], 'image/targets.json');
    assert.equal(refused.json['expected'], 'length 15 (Director)');
    assert.equal(refused.json['found'], 'length 8 (Image repository)');
    assert.ok(rows(refused, 'roles').every(({ status }) => status === 'accepted'));
  });

  test('a Snapshot that takes a role back is the file that is refused (S5, S6)', async () => {
    const { image } = fixture.world;
    fixture.serve();
    await fixture.run(fixture.withState);
    fixture.world.release('fw-2.bin');
    image.publishSnapshot((body) => {
      const meta = Object.entries(body['meta'] as object).filter(([file]) => file === 'root.json');
      return { ...body, meta: Object.fromEntries(meta) };
    });
    image.publishTimestamp();
    fixture.serve();
    const refused = await fixture.run(fixture.withState);
    assert.equal(refused.json['code'], 'SNAPSHOT_ROLE_REMOVED');
    assert.equal(refused.json['file'], 'image/snapshot.json');
    assert.equal(role(refused, 'image', 'snapshot')?.['status'], 'refused');
  });
});

describe('--watch-expiry', () => {
  test('warns of roles near their end, soonest first, and the exit code stays 0', async () => {
    const { image, director } = fixture.world;
    image.expires.root = '2026-11-25T12:00:00Z';
    image.publishRoot();
    director.expires.timestamp = '2026-11-23T00:00:00Z';
    fixture.world.publish();
    fixture.serve();
    const result = await fixture.run(['--watch-expiry', '7']);
    assert.equal(result.exit, 0);
    assert.deepEqual(result.json['expiring'], [
      {
        ...{ repo: 'director', role: 'timestamp', version: 2 },
        ...{ expires: '2026-11-23T00:00:00Z', days: 2 },
      },
      {
        ...{ repo: 'image', role: 'root', version: 2 },
        ...{ expires: '2026-11-25T12:00:00Z', days: 4 },
      },
    ]);
    assert.equal(result.lines.filter((line) => line.includes('warning')).length, 2);
    assert.deepEqual((await fixture.run(['--watch-expiry', '1'])).json['expiring'], []);
    assert.equal((await fixture.run()).json['expiring'], undefined);
  });

  test('reads delegated roles that no image is wanted from, and trusts nothing by it (D1)', async () => {
    const { image } = fixture.world;
    const keys = [ed25519()];
    const delegation = (name: string): object => ({ name, keys, paths: [`${name}/*`] });
    image.delegations = [delegation('near'), delegation('late')] as typeof image.delegations;
    image.addDelegated('near', {
      ...{ keys, expires: '2026-11-22T00:00:00Z' },
      delegations: [delegation('below')] as typeof image.delegations,
    });
    image.addDelegated('below', { keys, expires: '2026-11-23T00:00:00Z' });
    image.addDelegated('late', { keys, expires: PAST });
    fixture.world.publish();
    fixture.serve();
    const result = await fixture.run([...fixture.withState, '--watch-expiry', '30']);
    assert.deepEqual([result.exit, result.json['outcome']], [0, 'update']);
    assert.deepEqual(
      rows(result, 'expiring').map(({ role: of, days }) => [of, days]),
      [
        ['delegated/near', 1],
        ['delegated/below', 2],
      ],
    );
    assert.deepEqual(
      rows(result, 'problems').map(({ code, details }) => [code, details]),
      [
        [
          'METADATA_EXPIRED',
          {
            ...{ repo: 'image', role: 'delegated/late' },
            ...{ expiresAt: PAST, nowAt: '2026-11-21T00:00:00Z' },
          },
        ],
      ],
    );
    rmSync(fixture.at('image/delegations'), { recursive: true });
    const again = await fixture.run([...fixture.withState, '--watch-expiry', '30']);
    assert.deepEqual([again.exit, again.json['outcome']], [0, 'up-to-date']);
    assert.deepEqual(
      rows(again, 'problems').map(({ code }) => code),
      ['METADATA_MISSING', 'METADATA_MISSING'],
    );
  });

  test('looks at the Image repository also when nothing new is wanted', async () => {
    fixture.serve();
    await fixture.run(fixture.withState);
    fixture.world.image.expires.timestamp = PAST;
    fixture.world.image.publish();
    fixture.serve();
    const result = await fixture.run([...fixture.withState, '--watch-expiry', '1']);
    assert.deepEqual([result.exit, result.json['outcome']], [0, 'up-to-date']);
    assert.deepEqual(
      rows(result, 'problems').map(({ code }) => code),
      ['METADATA_EXPIRED'],
    );
  });
});

describe('hints about what publishers do wrong', () => {
  const hints = async (options: readonly string[] = []): Promise<string> => {
    const { exit, json } = await fixture.run(options);
    assert.equal(exit, 20);
    return (json['hints'] as string[]).join('\n');
  };

  test('a root without its version', async () => {
    fixture.serve();
    copyFileSync(fixture.at('director/1.root.json'), fixture.at('director/root.json'));
    rmSync(fixture.at('director/1.root.json'));
    assert.match(await hints(), /^root\.json is there, but devices ask for 1\.root\.json/u);
  });

  test('no root beside the rest, a chain that begins late, an empty directory', async () => {
    fixture.serve();
    rmSync(fixture.at('image/1.root.json'));
    assert.match(await hints(), /^targets\.json is there, but no root under its version/u);
    fixture.world.image.publishRoot();
    fixture.serve();
    rmSync(fixture.at('image/1.root.json'));
    assert.match(await hints(), /^the chain of roots begins at 2\.root\.json/u);
    fixture.serve();
    for (const name of fixture.world.director.served.keys()) rmSync(fixture.at('director', name));
    assert.match(await hints(), /^nothing of a repository is there/u);
  });

  test('a web page, and swapped directories', async () => {
    fixture.serve();
    fixture.write('image/timestamp.json', '<!DOCTYPE html><html></html>');
    assert.match(await hints(), /web page/u);
    const { director } = fixture.world;
    director.targets = { 'fw-1.bin': imageTarget('fw-1.bin', [PRIMARY]) };
    fixture.world.publish();
    fixture.serve();
    assert.match(await hints(), /are --director and --image swapped\?/u);
  });

  test('the other format, both ways', async () => {
    fixture.serve();
    assert.match(await hints(['--image-format', 'tuf']), /omit --image-format/u);
    const tuf = new TufRepository();
    for (const [name, bytes] of tuf.served) fixture.write(`image/${name}`, bytes);
    assert.match(await hints(), /--image-format tuf/u);
  });
});
