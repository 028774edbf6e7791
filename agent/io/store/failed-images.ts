/** How often each image failed since it last went well. */
import type { FailedImage, Finish } from '../../ports.ts';
import type { Transaction } from './database.ts';
import { getFact, putFact } from './fact.ts';

/** Images that fail for ever must not fill the disk. */
const FAILED_IMAGES = 64;

export async function countFailures(t: Transaction, end: Finish): Promise<void> {
  const before = await getFact(t, 'failed_images');
  if (before === undefined && !end.failed) return;
  const failures = new Map(parseFailures(before));
  for (const image of end.images) {
    const count = failures.get(image)?.failures ?? 0;
    failures.delete(image);
    const failedAt = end.history.endedAt;
    if (end.failed) failures.set(image, { failures: count + 1, failedAt });
  }
  await putFact(t, 'failed_images', JSON.stringify([...failures].slice(-FAILED_IMAGES)));
}

export function parseFailures(text = '[]'): ReadonlyMap<string, FailedImage> {
  return new Map(JSON.parse(text) as [string, FailedImage][]);
}
