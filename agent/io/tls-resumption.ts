/** Connections that go on with an earlier TLS session, or not at all. */
import {
  createSecureContext,
  type ConnectionOptions,
  type SecureContext,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';

import type { Ticket } from './tls-tickets.ts';

const contexts = new Map<string, SecureContext>();

/**
 * What a connection needs that may only be resumed: no key, no certificate and no CA of ours.
 *
 * Without ML-KEM, which is most of what such a handshake sends (2,300 bytes). What was recorded stays
 * out of reach for a quantum computer all the same: the ticket's secret goes into the keys, and comes
 * from a full handshake that had ML-KEM wherever the gateway has it (RFC 8446 §7.1).
 */
export function resumption({
  protocol,
}: Pick<Ticket, 'protocol'>): Pick<ConnectionOptions, 'secureContext' | 'rejectUnauthorized'> {
  let secureContext = contexts.get(protocol);
  if (secureContext === undefined) {
    secureContext = createSecureContext({ ...EVERY, ...(protocol === TLS_1_3 ? SHORT : {}) });
    contexts.set(protocol, secureContext);
  }
  return { secureContext, rejectUnauthorized: false };
}

const EVERY: SecureContextOptions = {
  ca: [],
  minVersion: 'TLSv1.2',
  ecdhCurve: 'X25519:P-256:P-384',
};
const TLS_1_3 = 'TLSv1.3';
/** Nothing is signed when a session is resumed, and no other version could: 170 bytes less. */
const SHORT: SecureContextOptions = {
  minVersion: TLS_1_3,
  sigalgs: 'ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256',
};

/** Whether the server did not resume: then we are nobody to it, and it has proved nothing to us. */
export function isForgotten(socket: TLSSocket, error: Error | null): boolean {
  if (error === null) return !socket.isSessionReused();
  return 'code' in error && String(error.code).startsWith('ERR_SSL_');
}
