import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { Locator, Page } from 'playwright-core';

import { FAULTS } from '../director/faults.ts';
import { SimulatedUpdates, type Polled, type Verdict } from '../director/simulated/updates.ts';
import { openPage, PHONE, type OpenPage } from '../support/browser.ts';
import { publishOnPage, startOnPage } from '../support/staging-forms.ts';
import { startFixture, type Fixture } from './director-fixture.ts';

const DEVICES = 10;

let fixture: Fixture;
let browser: OpenPage;
let page: Page;
let fleet: readonly SimulatedUpdates[];

before(async () => {
  fixture = await startFixture({ page: true });
  fleet = await Promise.all(
    Array.from({ length: DEVICES }, async (_, at) => {
      const device = await fixture.newDevice(`device-${String(at)}`);
      await device.register();
      return new SimulatedUpdates(device);
    }),
  );
  await pollAll(() => true);
  browser = await openPage();
  page = browser.page;
});
after(async () => {
  await browser.close();
  await fixture.end();
});

async function pollAll(works: Verdict): Promise<void> {
  await Promise.all(fleet.map(async (one) => one.poll(works)));
}

async function pollOne(): Promise<Polled | undefined> {
  return fleet[0]?.poll(() => true);
}

async function publish(name: string, version: string): Promise<void> {
  const file = join(fixture.directory, name);
  writeFileSync(file, randomBytes(2000));
  await publishOnPage(page, { file, version, hardwareIds: 'primary-hw other-hw' });
  await page.getByText(`${name} is published: 2000 bytes.`).waitFor();
}

const start = async (image: string, fields: Readonly<Record<string, string>>): Promise<void> =>
  startOnPage(page, image, fields);

/** Devices go on polling until the page says so. */
async function until(text: string | RegExp, works: Verdict): Promise<void> {
  const found = page.getByText(text).first();
  while (!(await found.isVisible())) {
    await pollAll(works);
    await page.waitForTimeout(100);
  }
}

describe('the page', () => {
  test('needs the token of its URL, and the name of this machine', async () => {
    const { origin, port } = new URL(fixture.director.pageUrl);
    assert.match(origin, /^http:\/\/127\.0\.0\.1:/u);
    for (const path of ['/', '/?token=wrong', '/api/status', '/api/stream'])
      assert.equal((await fetch(`${origin}${path}`)).status, 401, path);
    const posted = await fetch(`${origin}/api/rollouts`, { method: 'POST', body: '{}' });
    assert.equal(posted.status, 401);
    const other = await page.request.get(fixture.director.pageUrl, {
      headers: { host: `evil.example:${port}` },
    });
    assert.equal(other.status(), 421);
  });

  test('shows the fleet, and does not keep the token in the address', async () => {
    await page.goto(fixture.director.pageUrl);
    await page.getByText(`${String(DEVICES)} devices, live`).waitFor();
    assert.equal(new URL(page.url()).search, '');
    await page.locator('#fleet').getByText('primary-hw · unknown').waitFor();
    await page.reload();
    await page.getByText(`${String(DEVICES)} devices, live`).waitFor();
  });

  test('publishes an image, starts a rollout and shows it reach every device', async () => {
    await publish('fw-1.bin', '1.0');
    await start('fw-1.bin', { name: 'spring', phases: '20 100', soak: '0' });
    await page.getByText('spring → fw-1.bin').waitFor();
    await until('finished: every device has ended', () => true);
    await page.locator('#fleet').getByText('primary-hw · 1.0 (fw-1.bin)').waitFor();
    assert.ok(fleet.every(({ begun }) => begun.length === 1));
  });

  test('shows a release that is bad on 20 % of devices stop itself in its first phase, where, and why in words', async () => {
    await publish('fw-2.bin', '2.0');
    await start('fw-2.bin', { name: 'summer', phases: '50 100', soak: '0', failure: '20' });
    let tried = 0;
    await until(
      'stopped: phase 1 failed on 1 of 5 devices, and 20 % is the limit',
      () => (tried += 1) % 5 !== 0,
    );
    const stopped = page.locator('article').filter({ hasText: 'summer' });
    await stopped.getByText('4 succeeded, 1 failed').waitFor();
    assert.deepEqual(await stopped.locator('.row span').allTextContents(), [
      'phase 1 · up to 50 %',
      '4 succeeded, 1 failed',
      'phase 2 · up to 100 %',
      '5 waiting',
    ]);
    await page.getByRole('button', { name: 'failed devices' }).click();
    await page.locator('#found button').first().click();
    const story = page.locator('#story');
    await story.getByText('could not be updated to fw-2.bin').waitFor();
    await story.getByText('INSTALL_FAILED: the health check failed').waitFor();
    await story.getByText('was given fw-1.bin (by the rollout spring)').waitFor();
    await browser.screenshot('desktop');
  });

  test('says what was refused', async () => {
    await start('fw-1.bin', { name: 'nobody', phases: '100', tag: 'no such tag' });
    await page
      .locator('#message')
      .getByText('no device that was here is in the first phase')
      .waitFor();
  });

  const faultNamed = (name: string): Locator =>
    page.locator('#faults article').filter({ has: page.getByText(name, { exact: true }) });

  test('lists every fault with what it does and what the agent says, and finds them', async () => {
    const rows = page.locator('#faults article');
    assert.equal(await rows.count(), Object.keys(FAULTS).length);
    for (const [name, { attack, code, what }] of Object.entries(FAULTS)) {
      const text = (await faultNamed(name).textContent()) ?? '';
      const says = code === '' ? 'the agent goes on' : `the agent says ${code}`;
      for (const one of [attack, what.replaceAll('`', ''), says])
        assert.ok(text.includes(one), `${name}: ${text}`);
    }
    await page.locator('#fault [name=search]').fill('IMAGE_TRUNCATED');
    assert.deepEqual(await rows.locator('visible=true').locator('strong').allTextContents(), [
      'image-truncated',
      '',
    ]);
    await page.locator('#fault [name=search]').fill('');
  });

  test('switches a fault on for chosen devices or all, says so on top, and off again', async () => {
    const on = page.locator('#on');
    assert.equal(await on.isVisible(), false);
    const devices = page.locator('#fault [name=devices]');
    const flip = faultNamed('image-bit-flip');
    await flip.locator('[name=at]').fill('7');
    await devices.fill('device-1  device-2');
    await flip.getByRole('button').click();
    for (const device of ['device-1', 'device-2'])
      await on.getByText(`image-bit-flip is on for ${device} at=7 times=0`).waitFor();
    await flip.getByText('on for device-1, on for device-2').waitFor();
    await devices.fill('');
    await faultNamed('http-500').getByRole('button').click();
    await on.getByText('http-500 is on for all devices').waitFor();
    await page.reload();
    await on.getByText('http-500 is on for all devices').waitFor();
    await page.locator('#faults').scrollIntoViewIfNeeded();
    assert.ok(await on.isVisible());
    await browser.screenshot('faults-desktop');
    assert.equal(await pollOne(), 'refused');
    const http = on.locator('.fault').filter({ hasText: 'http-500' });
    await http.getByRole('button', { name: 'switch off' }).click();
    await http.waitFor({ state: 'detached' });
    assert.equal(await on.locator('.fault').count(), 2);
    await on.getByRole('button', { name: 'switch all off' }).click();
    await on.waitFor({ state: 'hidden' });
    assert.equal(await pollOne(), 'idle');
  });

  test('says why a fault cannot be switched on', async () => {
    await page.locator('#fault [name=devices]').fill('device-1');
    await faultNamed('certificate-expired').getByRole('button').click();
    await page.getByText('certificate-expired is for all devices: leave the device out').waitFor();
    await page.locator('#fault [name=devices]').fill('');
  });

  test('works on a phone: nothing is wider than the screen, and rollouts are steered', async () => {
    await page.setViewportSize(PHONE);
    const width = await page.evaluate('document.documentElement.scrollWidth');
    assert.equal(width, PHONE.width);
    const draft = page.locator('article').filter({ hasText: 'nobody' });
    await draft.getByRole('button', { name: 'cancel' }).click();
    await draft.getByText('cancelled: cancelled by an operator').waitFor();
    await page.emulateMedia({ colorScheme: 'dark' });
    await browser.screenshot('phone');
    assert.deepEqual(browser.complaints, []);
  });

  test('has nothing of the operator that is for the socket alone', async () => {
    const { origin } = new URL(fixture.director.pageUrl);
    for (const path of ['certificates', 'settings', 'enrolment/request', 'requests'])
      assert.equal((await page.request.get(`${origin}/api/${path}`)).status(), 404, path);
    const image = { path: '/etc/passwd', name: 'x', hardwareIds: ['x'], version: '1' };
    const posted = await page.request.post(`${origin}/api/images`, { data: image });
    assert.equal(posted.status(), 404);
  });
});
