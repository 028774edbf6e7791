import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The environment in which a process believes in another time.
 *
 * @param time - as faketime(1) takes it: `@2100-01-01 00:00:00`, `+400d`
 */
export function fakeClock(time: string): Readonly<Record<string, string>> {
  const library = readdirSync('/usr/lib')
    .map((directory) => join('/usr/lib', directory, 'faketime', 'libfaketime.so.1'))
    .find((path) => existsSync(path));
  if (library === undefined) throw new Error('libfaketime is not installed: npm run setup');
  return { LD_PRELOAD: library, FAKETIME: time, TZ: 'UTC' };
}
