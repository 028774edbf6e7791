/** What a release engineer does on the page of the staging server. */
import type { Page } from 'playwright-core';

/** @param image - the file is published under its own name */
export async function publishOnPage(
  page: Page,
  image: { readonly file: string; readonly version: string; readonly hardwareIds: string },
): Promise<void> {
  const form = page.locator('#publish');
  await form.locator('[name=file]').setInputFiles(image.file);
  await form.locator('[name=version]').fill(image.version);
  await form.locator('[name=hardwareIds]').fill(image.hardwareIds);
  await form.locator('button').click();
  await page.locator('#message').getByText('is published').waitFor();
}

/** @param fields - by their names in the form */
export async function startOnPage(
  page: Page,
  image: string,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  const form = page.locator('#start');
  await form.locator(`[name=image] option[value="${image}"]`).waitFor({ state: 'attached' });
  await form.locator('[name=image]').selectOption(image);
  for (const [name, value] of Object.entries(fields))
    await form.locator(`[name=${name}]`).fill(value);
  await form.locator('button').click();
}
