import { test } from 'node:test';

import { FileInstaller } from '../../agent/io/installers/file.ts';
import { installerContract } from '../contract/installer.contract.ts';
import { UPDATE } from '../support/ab-slot.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { fileDevice } from '../support/file-device.ts';
import { targetFor } from '../support/targets.ts';

installerContract('file', fileDevice);

test('an image that had to be unpacked first is refused before it is downloaded', async () => {
  const { lengthBytes, hashes } = targetFor(UPDATE);
  const packed = targetFor(UPDATE, { compressed: { by: 'gzip', lengthBytes, hashes } });
  await rejectsCode(new FileInstaller('/no/such/file').check(packed), 'INSTALL_FAILED', {
    installer: 'file',
    ecu: 'ecu-1',
    cause:
      'the image is published with compression gzip, which this installer does not unpack: publish it as it is',
  });
});
