/** Certificates renewed and keys rotated, with power cuts, refusals and wrong clocks in between. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { Subject } from '../../provisioning/rotation.ts';
import type { AgentResult } from '../support/device.ts';
import { RotationBench, type Ran } from '../support/rotation-bench.ts';
import type { Cut } from '../support/rotation-driver.ts';
import { emulator, softHsm, type TokenKind } from '../support/token-world.ts';
import { describe as said } from '../support/world.ts';

/** `OTA_ROTATION_CUTS=all`: before and after every effect, and in the recovery as well. */
const ALL = process.env['OTA_ROTATION_CUTS'] === 'all';
const SUBJECTS: readonly Subject[] = ['certificate', 'tls', 'uptane'];

/** The moment after one effect is the one before the next. */
function cutsOf(effects: number): readonly Cut[] {
  const numbers = Array.from({ length: effects }, (_, index) => index + 1);
  const after = numbers.map((effect): Cut => ({ effect, moment: 'after' }));
  if (!ALL) return [{ effect: 1, moment: 'before' }, ...after];
  return [...numbers.map((effect): Cut => ({ effect, moment: 'before' })), ...after];
}

function powerCuts(kind: TokenKind, subjects: readonly Subject[], every: number): void {
  describe(`power cuts of a rotation on ${kind.name}`, () => {
    let bench: RotationBench;
    before(async () => {
      bench = await RotationBench.open(kind);
    });
    after(() => bench.close());

    for (const subject of subjects) {
      test(`${subject}: works at once and ends with one of each, wherever it was killed`, async (t) => {
        const { rest, effects } = await bench.finish({ rotate: subject });
        assert.equal(rest, 'rotated');
        const cuts = cutsOf(effects.length).filter((_, index) => index % every === 0);
        for (const cut of cuts) {
          // Finds what the cut before has left, and is cut itself.
          const ran = await cutShort(bench, subject, cut);
          assert.equal(ran.cut, `${cut.moment} ${effects[cut.effect - 1] ?? ''}`, ran.output);
          assert.equal(ran.found?.outcome, 'up-to-date', ran.output);
          assertOneOfEach(ran.found.census);
          assert.equal(await bench.lastVerdict(), 'accepted');
        }
        assertOneOfEach((await bench.finish()).census);
        t.diagnostic(`${String(cuts.length)} cuts: ${effects.join(', ')}`);
      });

      test(`${subject}: may be killed again while it recovers`, { skip: !ALL }, async () => {
        const { effects } = await bench.finish({ rotate: subject });
        for (let first = 1; first < effects.length; first += 1) {
          await bench.run({ rotate: subject, cut: { effect: first, moment: 'after' } });
          for (let second = 1; second <= effects.length - first; second += 1) {
            await bench.run({ count: 'recovery', cut: { effect: second, moment: 'after' } });
          }
          assertOneOfEach((await bench.finish()).census);
        }
      });
    }
  });
}

/** Where a process cannot see a key that was made after it has destroyed one, the next one can. */
async function cutShort(bench: RotationBench, rotate: Subject, cut: Cut): Promise<Ran> {
  const ran = await bench.run({ rotate, cut });
  if (ran.result?.rest !== 'waiting') return ran;
  await bench.finish();
  return bench.run({ rotate, cut });
}

function assertOneOfEach(census: {
  tls: readonly string[];
  uptane: readonly string[];
  publicKeys: number;
  certificates: number;
}): void {
  const { tls, uptane, publicKeys, certificates } = census;
  const counts = { tls: tls.length, uptane: uptane.length, publicKeys, certificates };
  assert.deepEqual(counts, { tls: 1, uptane: 1, publicKeys: 2, certificates: 1 });
}

describe('a rotation', () => {
  let bench: RotationBench;
  before(async () => {
    bench = await RotationBench.open(emulator);
  });
  after(() => bench.close());

  const details = ({ json }: AgentResult): Record<string, unknown> =>
    json['details'] as Record<string, unknown>;
  const setting = (settings: object): Promise<unknown> =>
    bench.director.control('PUT', '/settings', settings);

  test('between two keys the commands work, and the next cycle decides', async () => {
    const cuts = [
      ['tls', 7],
      ['uptane', 5],
    ] as const;
    for (const [rotate, effect] of cuts) {
      const { cut } = await bench.run({ rotate, cut: { effect, moment: 'after' } });
      assert.match(cut ?? '', /remembering proving-new|POST .director.ecus/u);
      await bench.ok(['check']);
      await bench.ok(['provision']);
      const { json } = await bench.ok(['once']);
      assert.equal(json['outcome'], 'up-to-date');
      const status = await bench.ok(['status']);
      assert.equal((status.json['lastRotation'] as { of: string }).of, rotate);
    }
    const provisioned = await bench.ok(['provision']);
    const steps = provisioned.json['steps'] as { outcome: string }[];
    assert.deepEqual(new Set(steps.map(({ outcome }) => outcome)), new Set(['found done']));
    assertOneOfEach((await bench.finish()).census);
    assert.equal((await bench.known()).formerKeys?.length, 1);
  });

  test('that the CA refuses is undone: exit 50 with its words, and the old key stays', async () => {
    const before = (await bench.finish()).census;
    await setting({ reenrolment: 'refused' });
    for (const subject of ['tls', 'certificate']) {
      const refused = await bench.ok(['rotate', subject], 50);
      assert.equal(refused.json['code'], 'ENROLMENT_REFUSED');
      assert.equal(refused.json['rotation'], 'undone');
      assert.equal(details(refused)['status'], 403);
    }
    await setting({ reenrolment: 'allowed' });
    assert.deepEqual((await bench.finish()).census, before);
  });

  test('that the CA lets wait is waited for, keeps others out, and can be cancelled', async () => {
    const before = (await bench.finish()).census;
    await setting({ reenrolment: 'later' });
    const waits = await bench.ok(['rotate', 'tls'], 50);
    assert.equal(waits.json['rotation'], 'waiting');
    const status = (await bench.ok(['status'])).json['rotation'] as { at: string };
    assert.equal(status.at, 'certifying');
    await bench.ok(['once']);
    const busy = await bench.ok(['rotate', 'uptane'], 2);
    assert.equal(busy.json['code'], 'USAGE');
    const cancelled = await bench.ok(['rotate', 'cancel']);
    assert.equal(cancelled.json['outcome'], 'cancelled');
    await setting({ reenrolment: 'allowed' });
    assert.deepEqual((await bench.finish()).census, before);
  });

  test('whose certificate the gateway refuses is undone, and the old key is used', async () => {
    const before = (await bench.finish()).census;
    const cut: Cut = { effect: 7, moment: 'after' };
    assert.equal((await bench.run({ rotate: 'tls', cut })).cut, 'after remembering proving-new');
    const newest = (await bench.certificates()).at(-1)?.serial ?? '';
    await bench.director.control('DELETE', `/certificates/${newest}`);
    const after = await bench.finish();
    assert.deepEqual(after.census, before);
    const last = (await bench.ok(['status'])).json['lastRotation'] as { code: string };
    assert.equal(last.code, 'GATEWAY_TLS');
  });

  test('that the Director does not allow is undone after it has accepted the old key again', async () => {
    const before = (await bench.finish()).census;
    const refusals = [
      [{ ecuReplacement: false }, 409],
      [{ ecuReplacement: true, keyChange: 'ignored' }, 400],
    ] as const;
    for (const [settings, status] of refusals) {
      await setting(settings);
      const refused = await bench.ok(['rotate', 'uptane'], 50);
      assert.equal(refused.json['code'], 'ENROLMENT_REFUSED', said(refused));
      assert.equal(details(refused)['status'], status);
      assert.match(String(details(refused)['remedy']), /replace ECU keys.*old key/u);
      assert.equal(await bench.lastVerdict(), 'accepted');
    }
    await setting({ ecuReplacement: true, keyChange: 'taken' });
    assert.deepEqual((await bench.finish()).census, before);
  });

  test('that the Director cannot decide now waits with the old key, and goes on', async () => {
    const parameters = { path: '/director/ecus' };
    await bench.director.fault('http-503', 'on', { parameters });
    const waits = await bench.ok(['rotate', 'uptane'], 21);
    assert.equal(waits.json['rotation'], 'waiting');
    await bench.ok(['once']);
    assert.equal(await bench.lastVerdict(), 'accepted');
    await bench.director.fault('http-503', 'off');
    const { census } = await bench.finish();
    assertOneOfEach(census);
    const status = await bench.ok(['status']);
    const last = status.json['lastRotation'] as { outcome: string };
    assert.equal(last.outcome, 'rotated', said(status));
  });

  test('on a token without room for a second key says so and keeps the one it has', async () => {
    const before = (await bench.finish()).census;
    await bench.fill('on');
    const refused = await bench.ok(['rotate', 'uptane'], 50);
    assert.equal(refused.json['code'], 'TOKEN_FULL', said(refused));
    assert.match(String(details(refused)['problem']), /no room for a second key/u);
    await bench.ok(['once']);
    await bench.fill('off');
    assert.deepEqual((await bench.finish()).census, before);
  });

  test('by hand leaves a request and goes on when the certificate is there', async () => {
    const at = (name: string): string => join(bench.device.options.directory, name);
    const files = { csr_file: at('again.csr'), certificate_file: at('again.pem') };
    const { mode } = bench.device.settings['provisioning'] ?? {};
    bench.device.configure({ provisioning: { mode: 'manual', ...files } });
    const asked = await bench.ok(['rotate', 'tls'], 3);
    assert.ok(said(asked).includes(files.certificate_file));
    await bench.ok(['once']);
    const { pem } = await bench.director.certify(readFileSync(files.csr_file, 'utf8'));
    writeFileSync(files.certificate_file, pem);
    await bench.ok(['once']);
    const status = await bench.ok(['status']);
    assert.equal((status.json['lastRotation'] as { outcome: string }).outcome, 'rotated');
    bench.device.configure({ provisioning: { mode } });
    assertOneOfEach((await bench.finish()).census);
  });
});

powerCuts(emulator, SUBJECTS, 1);
powerCuts(softHsm, ['tls'], ALL ? 1 : 3);
