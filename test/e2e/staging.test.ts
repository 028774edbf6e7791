/** The staging server as README.md of `test/director` tells a release engineer to use it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { openPage, PHONE, type OpenPage } from '../support/browser.ts';
import { publishOnPage, startOnPage } from '../support/staging-forms.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { typeNpmRun, type Terminal } from '../support/terminal.ts';

const DEVICES = ['device-1', 'device-2'] as const;
/** More than a device takes on a machine that is busy with something else. */
const LONG = { timeout: 90_000 };

describe('npm run staging, and two devices in terminals of their own', () => {
  const directory = temporaryDirectory('staging');
  const state = join(directory.path, 'server');
  const content = randomBytes(300_000);
  let server: Terminal;
  let devices: readonly Terminal[];
  let browser: OpenPage;
  before(async () => {
    server = typeNpmRun('staging', '--state', state);
    await server.line(/^http:/u);
    const where = ['--state', state, '--directory', join(directory.path, 'devices')];
    devices = DEVICES.map((id) => typeNpmRun('staging:device', '--id', id, ...where));
    browser = await openPage();
    await Promise.all(devices.map(async (device) => device.line(/ started device=/u)));
  });
  after(async () => {
    await browser.close();
    await Promise.all([server, ...devices].map(async (one) => one.interrupt()));
    directory.remove();
  });

  const running = (id: string): Buffer => {
    const at = (name: string): string => join(directory.path, 'devices', id, 'device', name);
    const slot = readFileSync(at('booted-slot'), 'utf8').trim();
    return readFileSync(at(`slot-${slot}.img`)).subarray(0, content.length);
  };

  test('the server prints one line, the URL of the page, and the devices are on it', async () => {
    assert.match(server.output(), /^http:\/\/127\.0\.0\.1:\d+\/\?token=[\w-]+\n$/u);
    await browser.page.goto(server.output().trim());
    await browser.page.getByText('2 devices, live').waitFor(LONG);
    await browser.page.locator('#fleet').getByText('staging-board · unknown').waitFor(LONG);
  });

  test('an image that was published there reaches them in two phases, and the page shows each step by itself', async () => {
    const { page } = browser;
    await page.evaluate('globalThis.isSame = true');
    await page.locator('#found').getByText('device-1').click();
    const file = join(directory.path, 'fw-2.img');
    writeFileSync(file, content);
    await publishOnPage(page, { file, version: '2.0', hardwareIds: 'staging-board' });
    await startOnPage(page, 'fw-2.img', { name: 'spring', phases: '50 100', soak: '3600' });

    const rollout = page.locator('article').filter({ hasText: 'spring → fw-2.img' });
    await rollout.getByText('phase 1 succeeded on 1 device, and is watched').waitFor(LONG);
    const second = rollout.locator('.row').nth(1);
    assert.equal(await second.locator('span').nth(1).textContent(), '1 waiting');
    const fleet = page.locator('#fleet .row');
    assert.equal(await fleet.count(), 2, 'one of two runs it');
    await browser.screenshot('staging-first-phase');
    await rollout.getByRole('button', { name: 'advance' }).click();
    await rollout.getByText('phase 2 succeeded on 1 device, and is watched').waitFor(LONG);
    await page.locator('#story').getByText('runs fw-2.img (OK').waitFor(LONG);
    await fleet.getByText('staging-board · 2.0 (fw-2.img)').waitFor(LONG);

    const story = (await page.locator('#story li').allTextContents()).join('\n');
    const steps = [
      /runs fw-2\.img \(OK/u,
      /says that it runs fw-2\.img/u,
      /has finished installing/u,
      /has installed, and has to boot/u,
      /has begun to install/u,
      /has downloaded/u,
      /has begun to download/u,
      /was given fw-2\.img \(by the rollout spring\)/u,
      /says that it runs what it came with/u,
    ];
    for (const step of steps) assert.match(story, step);
    const begun = ['has to boot', 'begun to install', 'has downloaded', 'begun to download'];
    const order = begun.map((words) => story.indexOf(words));
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
      story,
    );
    assert.equal(await page.evaluate('globalThis.isSame'), true, 'the page was loaded once');
    for (const id of DEVICES) assert.ok(running(id).equals(content), id);
  });

  test('the page looks right at a desk and on a phone', async () => {
    await browser.screenshot('staging-desktop');
    await browser.page.setViewportSize(PHONE);
    assert.equal(await browser.page.evaluate('document.documentElement.scrollWidth'), PHONE.width);
    await browser.screenshot('staging-phone');
    assert.deepEqual(browser.complaints, []);
  });

  test('Ctrl-C ends a device, which is the same one when it is started again', async () => {
    const [device] = devices;
    await device?.interrupt();
    const again = typeNpmRun(
      'staging:device',
      ...['--id', 'device-1', '--state', state],
      ...['--directory', join(directory.path, 'devices')],
    );
    await again.line(/keys: found done: ota-agent-uptane/u);
    await again.line(/ started device=device-1/u);
    await again.interrupt();
    assert.ok(running('device-1').equals(content));
    assert.doesNotMatch(again.output(), /error|warn/iu);
  });

  test('without a server, a device says how to start one', async () => {
    const nowhere = join(directory.path, 'nowhere');
    const device = typeNpmRun('staging:device', '--state', nowhere);
    const what = await device.line(/^error: /u);
    assert.equal(what, `error: no staging server runs over ${nowhere}`);
    assert.equal(
      await device.line(/^remedy: /u),
      'remedy: start it in another terminal with: npm run staging',
    );
    assert.equal(await device.ended, 1);
  });
});
