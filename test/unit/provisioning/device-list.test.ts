/** The list of a station: what it says, and every list that is refused as a whole. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import { isOtaError } from '../../../agent/errors.ts';
import { readDeviceList } from '../../../provisioning/factory/device-list.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

describe('the list of devices', () => {
  const temporary = temporaryDirectory('factory-list');
  const path = join(temporary.path, 'devices.csv');
  after(() => {
    temporary.remove();
  });

  const read = (text: string): ReturnType<typeof readDeviceList> => {
    writeFileSync(path, text);
    return readDeviceList(path);
  };
  const refusal = async (text: string): Promise<readonly unknown[]> => {
    try {
      await read(text);
    } catch (error) {
      assert.ok(isOtaError(error) && error.code === 'FACTORY_LIST_INVALID', String(error));
      const { file, line, column, problem, remedy } = error.details;
      assert.equal(file, path);
      assert.notEqual(remedy, '');
      return [line, column, problem];
    }
    return assert.fail('accepted');
  };

  test('reads as spreadsheets write: with a byte order mark, quotes and CRLF', async () => {
    const devices = await read(
      '\uFEFFdevice_id,hardware_id,token_uri,pin_file,env:OTA_TEE_SOCKET\r\n' +
        'gw-1,"imx8, rev b",pkcs11:token=gw-1,pins/1,/run/1\r\n\r\ngw-2,,,,\r\n',
    );
    assert.deepEqual(devices, [
      {
        deviceId: 'gw-1',
        ecuSerial: 'gw-1',
        hardwareId: 'imx8, rev b',
        module: undefined,
        tokenUri: 'pkcs11:token=gw-1',
        pinFile: join(temporary.path, 'pins/1'),
        soPinFile: undefined,
        env: { OTA_TEE_SOCKET: '/run/1' },
      },
      { ...devices[1], deviceId: 'gw-2', tokenUri: undefined, env: {} },
    ]);
  });

  test('refuses two devices of one name or one serial, with both lines', async () => {
    assert.deepEqual(await refusal('device_id\ngw-1\ngw-2\ngw-1\n'), [
      4,
      'device_id',
      'is the same as in line 2',
    ]);
    assert.deepEqual(await refusal('device_id,ecu_serial\na,s\nb,s\n'), [
      3,
      'ecu_serial',
      'is the same as in line 2',
    ]);
    assert.deepEqual(await refusal('device_id,ecu_serial\na,b\nb,\n'), [
      3,
      'ecu_serial',
      'is the same as in line 2',
    ]);
  });

  test('refuses names that are no device ids, or would be other files', async () => {
    for (const id of ['', '..', '.hidden', 'a/b', 'a b', 'ü', 'x'.repeat(65)]) {
      assert.deepEqual(await refusal(`device_id,hardware_id\n${id},hw\n`), [
        2,
        'device_id',
        'is no device id',
      ]);
    }
  });

  test('refuses columns that it does not know, and PINs', async () => {
    assert.deepEqual(await refusal('device_id,serial\na,b\n'), [1, 'serial', 'is no column']);
    assert.deepEqual(await refusal('device_id,env:OTA_AGENT_PIN\na,1234\n'), [
      1,
      'env:OTA_AGENT_PIN',
      'would be a PIN in a list',
    ]);
    assert.deepEqual(await refusal('id\na\n'), [1, 'device_id', 'is missing']);
  });

  test('refuses URIs that name no token, as the settings do', async () => {
    const [line, column, problem] = await refusal('device_id,token_uri\na,pkcs11:tok=x\n');
    assert.deepEqual([line, column], [2, 'token_uri']);
    assert.equal(problem, 'character 8: attribute "tok" is not known');
  });

  test('refuses what is no CSV, and a list of nobody', async () => {
    const [line, , problem] = await refusal('device_id,hardware_id\na,b\nc\n');
    assert.equal(line, 3);
    assert.match(String(problem), /^is no CSV/u);
    assert.match(String((await refusal('device_id\n"a\n'))[2]), /^is no CSV/u);
    assert.deepEqual(await refusal('device_id\n'), [1, '', 'has no devices']);
    assert.deepEqual(await refusal(''), [1, '', 'has no devices']);
  });

  test('says which file it cannot read', async () => {
    await assert.rejects(readDeviceList(join(temporary.path, 'absent.csv')), (error) => {
      assert.ok(isOtaError(error) && error.code === 'FILE_UNREADABLE');
      assert.match(error.details.cause, /ENOENT/u);
      return true;
    });
  });
});
