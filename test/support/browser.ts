/** Debian's Chromium without a screen, and one page in it. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { chromium, type Page } from 'playwright-core';

const SCREENSHOTS = join(import.meta.dirname, '../.cache/screenshots');

export interface OpenPage {
  readonly page: Page;
  /** What the page did wrong, as the browser sees it; refusals of the server are none. */
  readonly complaints: readonly string[];
  /** All of the page, for people to look at: `test/.cache/screenshots/NAME.png`. */
  screenshot(name: string): Promise<void>;
  close(): Promise<void>;
}

export const DESKTOP = { width: 1100, height: 900 };
export const PHONE = { width: 360, height: 740 };

export async function openPage(): Promise<OpenPage> {
  mkdirSync(SCREENSHOTS, { recursive: true });
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
  const page = await browser.newPage({ viewport: DESKTOP });
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (line) => {
    const isRefusal = line.text().startsWith('Failed to load resource');
    if (line.type() === 'error' && !isRefusal) complaints.push(line.text());
  });
  return {
    page,
    complaints,
    screenshot: async (name) => {
      // What stays on top of the window would be in the middle of the picture.
      await page.evaluate('scrollTo(0, 0)');
      await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
    },
    close: () => browser.close(),
  };
}
