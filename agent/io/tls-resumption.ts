/** Connections that go on with an earlier TLS session, or not at all. */
import {
  createSecureContext,
  type ConnectionOptions,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';

let resumingContext: SecureContext | undefined;

/**
 * What a connection needs that may only be resumed: no key, no certificate and no CA of ours.
 *
 * Without ML-KEM, which is most of what such a handshake sends (2,300 bytes). What was recorded stays
 * out of reach for a quantum computer all the same: the ticket's secret goes into the keys, and comes
 * from a full handshake that had ML-KEM wherever the gateway has it (RFC 8446 §7.1).
 */
export function resumption(): Pick<ConnectionOptions, 'secureContext' | 'rejectUnauthorized'> {
  const ecdhCurve = 'X25519:P-256:P-384';
  resumingContext ??= createSecureContext({ ca: [], minVersion: 'TLSv1.2', ecdhCurve });
  return { secureContext: resumingContext, rejectUnauthorized: false };
}

/** Whether the server did not resume: then we are nobody to it, and it has proved nothing to us. */
export function isForgotten(socket: TLSSocket, error: Error | null): boolean {
  if (error === null) return !socket.isSessionReused();
  return 'code' in error && String(error.code).startsWith('ERR_SSL_');
}
