/** simplereenroll (RFC 7030 §4.2.2): another certificate for a device that shows the one it has. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

import { Refusal } from '../failure.ts';
import type { CheckedRequest } from '../pki/device-ca.ts';
import type { World } from '../world.ts';

/**
 * Who asks, by the certificate of the connection.
 *
 * @throws Refusal 401 `certificate_needed` without one of ours that is in force · 403
 *   `reenrolment_refused` · 202 `reenrolment_later`, with Retry-After
 */
export function demandHolder(world: World, socket: Socket): string {
  if (!(socket instanceof TLSSocket)) throw new Error('EST is served over TLS');
  const { subject, serialNumber } = socket.getPeerCertificate();
  if (!socket.authorized || world.deviceCa.isRevoked(serialNumber)) {
    const reason: unknown = socket.authorizationError;
    const why = socket.authorized ? 'it is revoked' : String(reason);
    throw new Refusal(
      401,
      'certificate_needed',
      `a device certificate of this CA is needed: ${why}`,
    );
  }
  switch (world.settings.current.reenrolment) {
    case 'refused':
      throw new Refusal(403, 'reenrolment_refused', 'the setting reenrolment is refused');
    case 'later':
      throw new Refusal(202, 'reenrolment_later', 'somebody has to approve it', {
        headers: { 'retry-after': '60' },
      });
    case 'allowed':
      return String(subject.CN);
  }
}

/** @throws Refusal 400 `csr_subject`: subject and alternative names have to stay as they are */
export function demandSameSubject({ deviceId }: CheckedRequest, holder: string): void {
  if (deviceId === holder) return;
  throw new Refusal(400, 'csr_subject', `${holder} asks for a certificate of ${deviceId}`);
}
