import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';

import { buildDrivers, runDriver, type Driver } from './support-tee-drivers.ts';
import { FakeWorld, INVOKE, answerOperation, plainReply, u32 } from './support-tee-fake-world.ts';

/** Sizes and places of the public fields as optee_client has them: 4.5 and 3.19, 64 bits. */
const LAYOUTS: readonly (readonly [Driver, string])[] = [
  ['teec-driver', 'context=8/4 session=16/8 memory=56/8 operation=112/8'],
  ['teec-driver-abi1', 'context=8/4 session=16/8 memory=48/8 operation=112/8'],
];

describe('both generations of libteec', () => {
  before(() => {
    buildDrivers('sanitized');
  });

  for (const [driver, layout] of LAYOUTS) {
    test(`have the sizes and alignments of their structures (${driver})`, async () => {
      const { lines } = await runDriver(driver, 'sanitized', ['sizes'], {});
      assert.deepEqual(lines, [`${layout} size@8 flags@16 types@4 params@8`]);
    });

    test(`carry every kind of parameter, allocate, register and release (${driver})`, async () => {
      const world = new FakeWorld();
      await world.listen();
      try {
        world.reply = (asked) =>
          asked.opcode === INVOKE
            ? Buffer.concat([
                u32(0, 4),
                answerOperation(asked, [
                  { bytes: Buffer.alloc(3, 7) },
                  { bytes: Buffer.alloc(2, 8) },
                  { bytes: Buffer.alloc(1, 9) },
                  { bytes: u32(5, 6) },
                ]),
              ])
            : plainReply(asked);
        const { lines, stderr, exitCode } = await runDriver(
          driver,
          'sanitized',
          [
            'initialize 0',
            'open 0 0 0 null',
            'invoke 0 1 whole:3:allocate:3 whole:2:x0000 part-inout:2:1:3:x01020304 value-out:0:0',
            'misaligned',
            'close 0',
            'finalize 0',
          ],
          { env: { OTA_TEE_SOCKET: world.socketPath } },
        );
        assert.deepEqual([stderr, exitCode], ['', 0]);
        assert.deepEqual(lines, [
          '0x00000000',
          '0x00000000 origin=4',
          '0x00000000 origin=4 0.size=3 0=x070707 1.size=2 1=x0808 2.size=1 2=x01020904 3=5/6',
          '0x00000000 0x00000000 0x00000000',
          'done',
          'done',
        ]);
      } finally {
        await world.close();
      }
    });
  }
});
