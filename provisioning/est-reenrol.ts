/** Another certificate from the EST server, with the one in use as the proof of who asks. */
import { isOtaError, OtaError, type AnyOtaError } from '../agent/errors.ts';
import type { CertificateRequest } from './csr.ts';
import { certificatesOf, type EstConnection } from './est.ts';

/**
 * Sends a certificate request to simplereenroll.
 *
 * Source: RFC 7030 §4.2.2, §3.3.2 (TLS client authentication with the certificate to be replaced).
 *
 * @param est - with the identity in use
 * @returns DER of every certificate in the answer, in no particular order
 * @throws OtaError ENROLMENT_REFUSED for every answer without certificates
 * @throws OtaError GATEWAY_UNREACHABLE, GATEWAY_TLS, GATEWAY_TIMEOUT
 */
export async function reenrol(
  est: EstConnection,
  request: CertificateRequest,
): Promise<Uint8Array[]> {
  try {
    const answer = await est.post('simplereenroll', request.der);
    return certificatesOf(answer, answer.text);
  } catch (error) {
    throw isOtaError(error) ? inOtherWords(error) : error;
  }
}

/** What enrolment advises speaks of secrets and the first certificate. */
function inOtherWords(error: AnyOtaError): AnyOtaError {
  if (error.code !== 'ENROLMENT_REFUSED') return error;
  const remedy = REMEDIES[error.details.status] ?? error.details.remedy;
  return new OtaError('ENROLMENT_REFUSED', { ...error.details, remedy }, { cause: error });
}

const NOT_ACCEPTED =
  'the EST server does not accept the certificate in use for another one: see its log; ' +
  'with provisioning.mode = "manual" somebody else can issue it';
const REMEDIES: Readonly<Record<number, string>> = {
  202: 'the request waits for approval: it is sent again at the next poll',
  400: 'the EST server wants subject or key otherwise: see its log, check identity.tls_key_type',
  401: NOT_ACCEPTED,
  403: NOT_ACCEPTED,
  404: 'the EST server has no simplereenroll: use provisioning.mode = "manual"',
};
