/** Checks of health with programs that run, fail, hang and are not there. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import { openHealth } from '../../agent/io/health.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

describe('the health of a device', () => {
  const directory = temporaryDirectory('health');
  const path = process.env['PATH'] ?? '';
  after(() => {
    process.env['PATH'] = path;
    directory.remove();
  });

  const program = (name: string, script: string): string => {
    const file = join(directory.path, name);
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
    return file;
  };
  const check = (commands: readonly (readonly string[])[], timeoutMs = 5000): Promise<void> =>
    openHealth({ commands, units: [], timeoutMs }).check();

  test('is good when every program ends with 0; arguments reach it as they are', async () => {
    const file = program('good', 'test "$1" = "a b; exit 1"');
    await check([[file, 'a b; exit 1']]);
    await check([]);
  });

  test('is bad with the first program that fails, and the last line that it said', async () => {
    const bad = program('self-test', 'echo begun; echo "no modem" >&2; exit 3');
    await rejectsCode(check([[program('good', 'true')], [bad]]), 'HEALTH_CHECK_FAILED', {
      check: 'command self-test',
      said: 'exit code 3: no modem',
    });
  });

  test('is bad with a program that hangs or is not there', async () => {
    const slow = program('slow', 'sleep 60');
    await rejectsCode(check([[slow]], 200), 'HEALTH_CHECK_FAILED', {
      check: 'command slow',
      said: `${slow} did not end within 0.2 s`,
    });
    const absent = join(directory.path, 'absent');
    await rejectsCode(check([[absent]]), 'HEALTH_CHECK_FAILED', {
      check: 'command absent',
      said: `${absent} cannot be run: ENOENT: spawn ${absent} ENOENT`,
    });
  });

  test('is bad with a unit that is not active, in the words of systemctl', async () => {
    program(
      'systemctl',
      'test "$1 $2" = "is-active --" || exit 9\ncase $3 in good.service) echo active;; *) echo activating; exit 3;; esac',
    );
    process.env['PATH'] = `${directory.path}:${path}`;
    const units = ['good.service', 'late.service'];
    await rejectsCode(
      openHealth({ commands: [], units, timeoutMs: 5000 }).check(),
      'HEALTH_CHECK_FAILED',
      {
        check: 'unit late.service',
        said: 'activating',
      },
    );
    await openHealth({ commands: [], units: ['good.service'], timeoutMs: 5000 }).check();
  });
});
