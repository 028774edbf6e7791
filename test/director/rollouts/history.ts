/** What was decided for a device and what came of it, one entry each. */
import { isMap } from '../json/canonical-json.ts';
import type { Assignment } from '../state/devices.ts';

export interface HistoryEntry {
  readonly at: string;
  readonly what: 'assigned' | 'succeeded' | 'failed' | 'withdrawn';
  readonly images: readonly string[];
  readonly correlationId: string;
  /** Why, or by whom. */
  readonly detail: string;
}

export function entryOf(
  what: HistoryEntry['what'],
  { targets, correlationId }: Pick<Assignment, 'targets' | 'correlationId'>,
  detail: string,
): HistoryEntry {
  const images = targets.map(({ filename }) => filename);
  return { at: new Date().toISOString(), what, images, correlationId, detail };
}

/** What the device reported, in its own words. */
export function reportedBy({ report }: Assignment): string {
  const result = report?.['result'];
  if (!isMap(result)) return 'no reason was reported';
  const { code, description } = result;
  return [code, description].filter((one) => typeof one === 'string').join(': ');
}
