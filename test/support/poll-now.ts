/** Ends the wait of a daemon for its next poll, and does not wait for what comes of it. */
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';

import type { World } from './world.ts';

export async function pollNow(world: World): Promise<void> {
  const socketPath = join(world.device.options.directory, 'api.sock');
  const asked = request({ socketPath, method: 'POST', path: '/v1/update' }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
}
