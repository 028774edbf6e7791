/** Which test types the commands of which document: all that stand in its `console` blocks. */
import { STEPS } from './steps.ts';

export const BY_STEPS = 'test/documents/documents.test.ts';

export const TYPED: ReadonlyMap<string, string> = new Map([
  ['provisioning/GETTING-STARTED.md', 'test/package/package.test.ts'],
  ...STEPS.map(({ document }) => [document, BY_STEPS] as const),
]);
