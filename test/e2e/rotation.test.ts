/** Certificates renewed and keys rotated, with power cuts and refusals in between. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { Subject } from '../../provisioning/rotation.ts';
import { RotationBench, type Ran } from '../support/rotation-bench.ts';
import type { Census, Cut } from '../support/rotation-driver.ts';
import { emulator, isolated, softHsm, tpm } from '../support/token-world.ts';
import { describe as said } from '../support/world.ts';

/** `OTA_ROTATION_CUTS=all`: before and after every effect, and in the recovery as well. */
const ALL = process.env['OTA_ROTATION_CUTS'] === 'all';

describe('a rotation', () => {
  let bench: RotationBench;
  /** Of a device at rest; what a test that changes no key has to leave behind. */
  let census: Census;
  before(async () => {
    bench = await RotationBench.open(emulator);
    ({ census } = await bench.finish());
  });
  after(() => bench.close());

  const setting = (settings: object): Promise<unknown> =>
    bench.director.control('PUT', '/settings', settings);

  test('that the CA refuses is undone: exit 50 with its words, and the old key stays', async () => {
    await setting({ reenrolment: 'refused' });
    const refused = await bench.ok(['rotate', 'tls'], 50);
    assert.equal(refused.json['code'], 'ENROLMENT_REFUSED');
    assert.equal(refused.json['rotation'], 'undone');
    assert.equal((refused.json['details'] as { status: number }).status, 403);
    const again = await bench.finish({ rotate: 'certificate' });
    assert.equal(again.rest, 'undone');
    assert.equal(again.failure?.code, 'ENROLMENT_REFUSED');
    assert.deepEqual(again.census, census);
  });

  test('that the CA lets wait is waited for, keeps others out, and can be cancelled', async () => {
    await setting({ reenrolment: 'later' });
    const waits = await bench.ok(['rotate', 'tls'], 50);
    assert.equal(waits.json['rotation'], 'waiting');
    const status = (await bench.ok(['status'])).json['rotation'] as { at: string };
    assert.equal(status.at, 'certifying');
    const busy = await bench.ok(['rotate', 'uptane'], 2);
    assert.equal(busy.json['code'], 'USAGE');
    const cancelled = await bench.ok(['rotate', 'cancel']);
    assert.equal(cancelled.json['outcome'], 'cancelled');
    await setting({ reenrolment: 'allowed' });
  });

  test('whose certificate the gateway refuses is undone, and the old key is used', async () => {
    const cut: Cut = { effect: 8, moment: 'after' };
    const ran = await bench.run({ rotate: 'tls', cut });
    assert.equal(ran.cut, 'after remembering proving-new');
    assert.deepEqual(ran.found?.census, census);
    const newest = (await bench.certificates()).at(-1)?.serial ?? '';
    await bench.director.control('DELETE', `/certificates/${newest}`);
    const undone = await bench.finish();
    assert.equal(undone.failure?.code, 'GATEWAY_TLS');
    assert.deepEqual(undone.census, census);
  });

  test('that the Director does not allow is undone after it has accepted the old key again', async () => {
    const refusals = [
      [{ ecuReplacement: false }, 409],
      [{ ecuReplacement: true, keyChange: 'ignored' }, 400],
    ] as const;
    for (const [settings, status] of refusals) {
      await setting(settings);
      const refused = await bench.finish({ rotate: 'uptane' });
      assert.equal(refused.rest, 'undone');
      const { code, details } = refused.failure ?? {};
      assert.equal(code, 'ENROLMENT_REFUSED');
      assert.equal((details as { status: number }).status, status);
      assert.match((details as { remedy: string }).remedy, /replace ECU keys.*old key/u);
      assert.equal(await bench.lastVerdict(), 'accepted');
      assert.deepEqual(refused.census, census);
    }
    await setting({ ecuReplacement: true, keyChange: 'taken' });
  });

  test('on a token without room for a second key says so and keeps the one it has', async () => {
    await bench.fill('on');
    const refused = await bench.finish({ rotate: 'uptane' });
    await bench.fill('off');
    assert.equal(refused.rest, 'undone');
    assert.equal(refused.failure?.code, 'TOKEN_FULL');
    const { problem } = refused.failure.details as { problem: string };
    assert.match(problem, /no room for a second key/u);
    assert.deepEqual(refused.census, census);
  });

  test('that the Director cannot decide now waits with the old key, and goes on', async () => {
    await bench.director.fault('http-503', 'on', { parameters: { path: '/director/ecus' } });
    const waits = await bench.ok(['rotate', 'uptane'], 21);
    assert.equal(waits.json['rotation'], 'waiting', said(waits));
    await bench.ok(['once']);
    assert.equal(await bench.lastVerdict(), 'accepted');
    await bench.director.fault('http-503', 'off');
    const done = await bench.finish();
    assertOneOfEach(done.census);
    assert.notDeepEqual(done.census.uptane, census.uptane);
    assert.equal((await bench.known()).formerKeys?.length, 1);
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
    const done = await bench.finish();
    bench.device.configure({ provisioning: { mode } });
    assertOneOfEach(done.census);
    assert.notDeepEqual(done.census.tls, census.tls);
  });

  test('stores the CA between with the certificate that needs it, and removes it with that', async () => {
    for (const [issuingCa, certificates] of [
      [true, 2],
      [false, 1],
    ] as const) {
      await bench.director.control('PUT', '/enrolment', { issuingCa });
      const done = await bench.finish({ rotate: 'certificate' });
      assert.deepEqual([done.rest, done.census.certificates], ['rotated', certificates]);
    }
  });

  test('leaves commands that work between two keys, and the next cycle decides', async () => {
    const cuts = [
      ['tls', 8],
      ['uptane', 5],
    ] as const;
    for (const [rotate, effect] of cuts) {
      const { cut } = await bench.run({ rotate, cut: { effect, moment: 'after' } });
      assert.match(cut ?? '', /remembering proving-new|POST .director.ecus/u);
      await bench.ok([rotate === 'tls' ? 'check' : 'provision']);
      const { json } = await bench.ok(['once']);
      assert.equal(json['outcome'], 'up-to-date');
      const status = await bench.ok(['status']);
      const last = status.json['lastRotation'] as { of: string; outcome: string };
      assert.deepEqual([last.of, last.outcome], [rotate, 'rotated']);
    }
    const { json } = await bench.ok(['provision']);
    const steps = json['steps'] as { outcome: string }[];
    assert.deepEqual(new Set(steps.map(({ outcome }) => outcome)), new Set(['found done']));
  });

  powerCuts(() => bench, ['certificate', 'tls', 'uptane'], 1);
});

describe('a rotation on SoftHSM2', () => {
  let bench: RotationBench;
  before(async () => {
    bench = await RotationBench.open(softHsm);
  });
  after(() => bench.close());

  powerCuts(() => bench, ALL ? ['certificate', 'tls', 'uptane'] : ['tls'], ALL ? 1 : 3);
});

describe('a rotation on a TPM', () => {
  let bench: RotationBench;
  before(async () => {
    bench = await RotationBench.open(tpm);
  });
  after(() => bench.close());

  powerCuts(() => bench, ALL ? ['certificate', 'tls', 'uptane'] : ['tls'], ALL ? 1 : 5);
});

describe('a rotation on a TPM behind p11-kit', () => {
  let bench: RotationBench;
  before(async () => {
    bench = await RotationBench.open(isolated(tpm));
  });
  after(() => bench.close());

  test('goes on in another process, as the TLS engine of this one does not know the new key', async () => {
    const begun = await bench.finish({ rotate: 'tls' });
    assert.equal(begun.rest, 'waiting');
    assert.equal(begun.failure?.code, 'TOKEN_FAILED');
    const { cause } = begun.failure.details as { cause: string };
    assert.match(cause, /a new process finds the new one$/u);
    const done = await bench.finish();
    assertOneOfEach(done.census);
    assert.deepEqual(done.census.tls, ['0202']);
    assert.equal(await bench.lastVerdict(), 'accepted');
  });
});

/** @param every - of the cuts, how many are one that is made */
function powerCuts(open: () => RotationBench, subjects: readonly Subject[], every: number): void {
  for (const subject of subjects) {
    test(`${subject}: works at once and ends with one of each, wherever it was killed`, async (t) => {
      const bench = open();
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
      const bench = open();
      const { effects } = await bench.finish({ rotate: subject });
      for (let first = 1; first < effects.length; first += 1) {
        await cutShort(bench, subject, { effect: first, moment: 'after' });
        for (let second = 1; second <= effects.length - first; second += 1) {
          await bench.run({ count: 'recovery', cut: { effect: second, moment: 'after' } });
        }
        assertOneOfEach((await bench.finish()).census);
      }
    });
  }
}

/** The moment after one effect is the one before the next. */
function cutsOf(effects: number): readonly Cut[] {
  const numbers = Array.from({ length: effects }, (_, index) => index + 1);
  const cuts = numbers.map((effect): Cut => ({ effect, moment: 'after' }));
  if (!ALL) return [{ effect: 1, moment: 'before' }, ...cuts];
  return [...numbers.map((effect): Cut => ({ effect, moment: 'before' })), ...cuts];
}

/** A process that has destroyed a key may not see one that is made afterwards; the next one does. */
async function cutShort(bench: RotationBench, rotate: Subject, cut: Cut): Promise<Ran> {
  const ran = await bench.run({ rotate, cut });
  return ran.result?.rest === 'none' ? bench.run({ rotate, cut }) : ran;
}

function assertOneOfEach({ tls, uptane, publicKeys, certificates }: Census): void {
  const counts = { tls: tls.length, uptane: uptane.length, publicKeys, certificates };
  assert.deepEqual(counts, { tls: 1, uptane: 1, publicKeys: 2, certificates: 1 });
}
