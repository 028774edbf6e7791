/** Ends the wait of a daemon for its next poll, as `ota-agent` has no command for. */
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';

import type { World } from './world.ts';

export async function pollNow(world: World): Promise<void> {
  const socketPath = join(world.device.options.directory, 'api.sock');
  const asked = request({ socketPath, method: 'POST', path: '/poll' }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
}
