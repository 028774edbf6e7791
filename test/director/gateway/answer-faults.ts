/** Faults that answer instead of the route. */
import { Refusal } from '../failure.ts';
import type { Parameters } from '../faults/row.ts';
import type { FaultSwitch } from '../faults/switch.ts';
import type { World } from '../world.ts';
import type { Gateway, PeerOf } from './peers.ts';

export function addAnswerFaults(app: Gateway, { faults }: World, peerOf: PeerOf): void {
  app.addHook('onRequest', async (request, reply) => {
    const { device } = peerOf(request);
    const strike = (name: 'http-500' | 'http-503'): Parameters | undefined => {
      const active = faults.at('answer', device).find((fault) => fault.name === name);
      const prefix = String(active?.parameters['path'] ?? '');
      return active !== undefined && request.url.startsWith(prefix)
        ? faults.strike(name, device)
        : undefined;
    };
    if (strike('http-500') !== undefined) {
      throw new Refusal(500, 'internal_server_error', 'fault http-500 is on');
    }
    const unavailable = strike('http-503');
    if (unavailable !== undefined) {
      const headers = { 'retry-after': String(unavailable['retryAfterSeconds']) };
      throw new Refusal(503, 'service_unavailable', 'fault http-503 is on', { headers });
    }
    const skewMs = clockSkewMs(faults, device);
    // Without a header of its own the answer gets the date of the machine.
    if (skewMs !== 0) reply.header('date', new Date(Date.now() + skewMs).toUTCString());
    const isEvents = request.method === 'POST' && request.url === '/events';
    if (isEvents && faults.strike('events-301', device) !== undefined) {
      await reply.redirect('/events/', 301);
    }
  });
}

const SKEWS: Readonly<Record<string, 1 | -1>> = { 'clock-ahead': 1, 'clock-behind': -1 };

/** How far the clock of this server is ahead for a device. */
function clockSkewMs(faults: FaultSwitch, device: string): number {
  const seconds = faults
    .at('answer', device)
    .map(({ name, parameters }) => (SKEWS[name] ?? 0) * Number(parameters['seconds'] ?? 0));
  return 1000 * seconds.reduce((all, one) => all + one, 0);
}
