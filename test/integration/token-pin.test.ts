import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { inspect } from 'node:util';

import { isOtaError } from '../../agent/errors.ts';
import { Pin, readPin } from '../../agent/io/token/pin.ts';
import { throwsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

describe('PINs', () => {
  const directory = (): string => temporary.path;
  let temporary: ReturnType<typeof temporaryDirectory>;

  beforeEach(() => {
    temporary = temporaryDirectory('pin');
  });
  afterEach(() => {
    temporary.remove();
  });

  const file = (name: string, text: string | Uint8Array, mode = 0o600): string => {
    const path = join(directory(), name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const codeOf = (act: () => unknown): unknown => {
    try {
      return act();
    } catch (error) {
      return isOtaError(error) ? error.code : error;
    }
  };

  test('come from the file in the settings before the credential before the environment', () => {
    const credentials = join(directory(), 'credentials');
    mkdirSync(credentials);
    writeFileSync(join(credentials, 'pin'), 'from-credential\n');
    const env = { CREDENTIALS_DIRECTORY: credentials, OTA_AGENT_PIN: 'from-environment' };
    const pin_file = file('pin', 'from-file\n');
    assert.equal(readPin('user', { pin_file }, env).reveal(), 'from-file');
    assert.equal(readPin('user', {}, env).reveal(), 'from-credential');
    assert.equal(readPin('user', {}, { OTA_AGENT_PIN: 'last' }).reveal(), 'last');
  });

  test('of the Security Officer have names of their own', () => {
    const so_pin_file = file('so', 'officer');
    assert.equal(readPin('so', { so_pin_file }, {}).reveal(), 'officer');
    assert.equal(readPin('so', {}, { OTA_AGENT_SO_PIN: 'officer' }).reveal(), 'officer');
    const env = { OTA_AGENT_PIN: 'user', CREDENTIALS_DIRECTORY: directory() };
    throwsCode(() => readPin('so', { pin_file: so_pin_file }, env), 'TOKEN_PIN_MISSING', {
      which: 'SO PIN',
      remedy: 'set token.so_pin_file, or the systemd credential "so-pin"',
    });
  });

  test('lose one newline at their end, and nothing else', () => {
    const read = (text: string): string =>
      readPin('user', { pin_file: file('pin', text) }, {}).reveal();
    assert.equal(read(' 12 34 \n'), ' 12 34 ');
    assert.equal(read('1234\r\n'), '1234');
    assert.equal(read('1234\n\n'), '1234\n');
    assert.equal(read('1'), '1');
    assert.equal(read('\r'), '\r');
    assert.equal(read('Pfütze\n'), 'Pfütze');
  });

  test('that are empty are missing', () => {
    for (const text of ['', '\n', '\r\n']) {
      throwsCode(
        () => readPin('user', { pin_file: file('pin', text) }, { OTA_AGENT_PIN: 'x' }),
        'TOKEN_PIN_MISSING',
        { which: 'user PIN', remedy: 'set token.pin_file, or the systemd credential "pin"' },
      );
    }
  });

  test('that cannot be read are not looked for elsewhere', () => {
    const pin_file = join(directory(), 'absent');
    assert.throws(
      () => readPin('user', { pin_file }, { OTA_AGENT_PIN: 'x' }),
      (error) =>
        isOtaError(error) && error.code === 'FILE_UNREADABLE' && error.details.path === pin_file,
    );
  });

  test('that could not be one are not tried: other encodings, large files, no files', () => {
    const pipe = join(directory(), 'pipe');
    execFileSync('mkfifo', ['-m', '600', pipe]);
    const paths = [
      file('latin1', Buffer.from('Pf\xfctze', 'latin1')),
      file('large', 'x'.repeat(5000)),
      pipe,
    ];
    const causes = paths.map((pin_file) => {
      try {
        return readPin('user', { pin_file }, {}).reveal();
      } catch (error) {
        return isOtaError(error) && error.code === 'FILE_UNREADABLE' && error.details.cause;
      }
    });
    assert.deepEqual(causes, ['not UTF-8', 'larger than any PIN', 'not a regular file']);
  });

  describe('in a file that others have access to', () => {
    const read = (mode: number): unknown => {
      const pin_file = file('pin', 'secret-pin', mode);
      return codeOf(() => readPin('user', { pin_file }, {}).reveal());
    };

    test('are refused, with the mode and what to do', () => {
      const pin_file = file('pin', 'secret-pin', 0o644);
      throwsCode(() => readPin('user', { pin_file }, {}), 'TOKEN_PIN_EXPOSED', {
        path: pin_file,
        problem: 'mode 0644: others have access to it',
        remedy: `chmod 600 ${pin_file}, and change the PIN if others use this machine`,
      });
    });

    test('are refused whatever the access is', () => {
      for (const mode of [0o604, 0o602, 0o601, 0o620, 0o666]) {
        assert.equal(read(mode), 'TOKEN_PIN_EXPOSED', mode.toString(8));
      }
      for (const mode of [0o600, 0o400]) assert.equal(read(mode), 'secret-pin');
    });

    const asRoot = { skip: process.getuid?.() === 0 ? false : 'only root can give files away' };
    test('may be given to a group by root, and by nobody else', asRoot, () => {
      const pin_file = file('pin', 'secret-pin', 0o640);
      assert.equal(readPin('user', { pin_file }, {}).reveal(), 'secret-pin');
      chownSync(pin_file, 4711, 4711);
      assert.equal(
        codeOf(() => readPin('user', { pin_file }, {})),
        'TOKEN_PIN_EXPOSED',
      );
    });
  });

  test('are taken out of the environment, which every child process inherits', () => {
    const env: NodeJS.ProcessEnv = { OTA_AGENT_PIN: 'user', OTA_AGENT_SO_PIN: 'so', HOME: '/' };
    const pin = readPin('user', {}, env);
    assert.deepEqual(env, { HOME: '/' });
    assert.equal(pin.reveal(), 'user');
    assert.equal(readPin('so', {}, env).reveal(), 'so');
  });

  test('are read anew for every login, and their bytes are overwritten', () => {
    const buffers: Buffer[] = [];
    const pin = new Pin(() => {
      buffers.push(Buffer.from('4711'));
      return buffers.at(-1) ?? Buffer.alloc(0);
    });
    assert.deepEqual([pin.reveal(), pin.reveal()], ['4711', '4711']);
    assert.deepEqual(buffers, [Buffer.alloc(4), Buffer.alloc(4)]);
  });

  test('are shown by nothing that prints', () => {
    const pin = new Pin(() => Buffer.from('4711'));
    const printed = [String(pin), JSON.stringify({ pin }), inspect({ pin }, { depth: 9 })];
    assert.deepEqual(printed, ['[PIN]', '{"pin":"[PIN]"}', '{ pin: [PIN] }']);
  });
});
