import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
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

  const file = (name: string, text: string): string => {
    const path = join(directory(), name);
    writeFileSync(path, text);
    return path;
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
  });

  test('that are empty are missing', () => {
    throwsCode(
      () => readPin('user', { pin_file: file('pin', '\n') }, { OTA_AGENT_PIN: 'x' }),
      'TOKEN_PIN_MISSING',
      { which: 'user PIN', remedy: 'set token.pin_file, or the systemd credential "pin"' },
    );
  });

  test('that cannot be read are not looked for elsewhere', () => {
    const pin_file = join(directory(), 'absent');
    assert.throws(
      () => readPin('user', { pin_file }, { OTA_AGENT_PIN: 'x' }),
      (error) =>
        isOtaError(error) && error.code === 'FILE_UNREADABLE' && error.details.path === pin_file,
    );
  });

  test('are shown by nothing that prints', () => {
    const pin = new Pin('4711');
    const printed = [String(pin), JSON.stringify({ pin }), inspect({ pin }, { depth: 9 })];
    assert.deepEqual(printed, ['[PIN]', '{"pin":"[PIN]"}', '{ pin: [PIN] }']);
  });
});
