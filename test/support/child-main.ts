/** The other end of in-child.ts. */
import { inspect } from 'node:util';

import { isOtaError } from '../../agent/errors.ts';

const [, , module = '', name = '', args = 'null'] = process.argv;
const exported = (await import(module)) as Record<string, (args: unknown) => unknown>;
const run = exported[name];
if (run === undefined) throw new Error(`${module} exports no ${name}`);
const outcome = await Promise.resolve()
  .then(() => run(JSON.parse(args)))
  .then(
    (value) => ({ value }),
    (error: unknown) => ({
      text: inspect(error, { depth: 10 }),
      ...(isOtaError(error) ? { code: error.code, details: error.details } : {}),
    }),
  );
process.send?.(outcome, () => {
  process.disconnect();
});
