/** `POST /director/time`: a nonce for a signed time. */
import { bodyOf } from '../answers.ts';
import type { World } from '../world.ts';
import type { Gateway, PeerOf } from './peers.ts';

const MAX_REQUEST_BYTES = 16 * 1024;

export function addTimeRoute(app: Gateway, { time }: World, peerOf: PeerOf): void {
  app.post('/director/time', { bodyLimit: MAX_REQUEST_BYTES }, (request, reply) =>
    reply
      .header('content-type', 'application/json')
      .send(time.answer(peerOf(request).device, bodyOf(request))),
  );
}
