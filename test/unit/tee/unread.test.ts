import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

import { TA_FLAG, type TrustedApp } from '../../tee/secure-world/ta.ts';
import { createWorldServer } from '../../tee/secure-world/world/server.ts';
import { World } from '../../tee/secure-world/world/world.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import * as wire from './wire-client.ts';

const UUID = '11111111-2222-3333-4444-555555555555';
const MEBIBYTE = 1024 * 1024;
const REQUESTS = 24;
const ANSWER_BYTES = 8 * MEBIBYTE;

/** A TA that leaves its parameters alone: output memory reads back as zeros. */
const idle: TrustedApp = {
  uuid: UUID,
  flags: TA_FLAG.SINGLE_INSTANCE | TA_FLAG.MULTI_SESSION,
  create: () => ({
    open: () => 0,
    invoke: () => 0,
    close: () => undefined,
    destroy: () => undefined,
  }),
};

test('requests in one chunk are not all answered into memory for a client that does not read', async () => {
  const directory = temporaryDirectory('unread');
  const server = createWorldServer(
    new World([idle], (_uuid, cause) => {
      throw cause;
    }),
  );
  server.listen(join(directory.path, 'socket'));
  await once(server, 'listening');
  const client = connect(join(directory.path, 'socket'));
  try {
    await once(client, 'connect');
    const asked = wire.invoke(3, 1, 0, [
      { type: 6, size: ANSWER_BYTES },
      ...wire.NO_PARAMETERS.slice(1),
    ]);
    client.pause();
    client.write(
      Buffer.concat([
        wire.hello(1),
        wire.openSession(2, { uuid: UUID }),
        ...Array.from({ length: REQUESTS }, () => asked),
      ]),
    );
    await wait(300);
    const held = process.memoryUsage().arrayBuffers;
    assert.ok(held < 128 * MEBIBYTE, `${String(Math.round(held / MEBIBYTE))} MiB`);

    let received = 0;
    client.on('data', (chunk: Buffer) => {
      received += chunk.byteLength;
    });
    client.resume();
    while (received < REQUESTS * ANSWER_BYTES) await once(client, 'data');
  } finally {
    client.destroy();
    server.close();
    directory.remove();
  }
});
