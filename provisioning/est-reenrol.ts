/** Another certificate from the EST server, with the one in use as the proof of who asks. */
import { isOtaError, OtaError, type AnyOtaError } from '../agent/errors.ts';
import type { HttpClient } from '../agent/io/http.ts';
import type { CertificateRequest } from './csr.ts';
import { base64Lines, certificatesOf, readText } from './est.ts';

/**
 * Sends a certificate request to simplereenroll.
 *
 * Source: RFC 7030 §4.2.2, §3.3.2 (TLS client authentication with the certificate to be replaced).
 *
 * @param server - base URL, before /.well-known/est
 * @param http - with the identity in use
 * @returns DER of every certificate in the answer, in no particular order
 * @throws OtaError ENROLMENT_REFUSED for every answer without certificates
 * @throws OtaError GATEWAY_UNREACHABLE, GATEWAY_TLS, GATEWAY_TIMEOUT
 */
export async function reenrol(
  server: string,
  http: HttpClient,
  request: CertificateRequest,
): Promise<Uint8Array[]> {
  const url = `${server.replace(/\/+$/u, '')}/.well-known/est/simplereenroll`;
  try {
    const response = await http.send({
      method: 'POST',
      url,
      body: Buffer.from(base64Lines(request.der)),
      headers: { 'content-type': 'application/pkcs10', 'content-transfer-encoding': 'base64' },
    });
    const line = { url, status: response.status };
    return certificatesOf(line, await readText(response, line));
  } catch (error) {
    throw isOtaError(error) ? inOtherWords(error) : error;
  }
}

/** What enrolment advises speaks of secrets and the first certificate, and the client's of the gateway. */
function inOtherWords(error: AnyOtaError): AnyOtaError {
  switch (error.code) {
    case 'GATEWAY_TLS': {
      const remedy = "check provisioning.est_ca (else gateway.ca), and this device's clock";
      return new OtaError('GATEWAY_TLS', { ...error.details, remedy }, { cause: error });
    }
    case 'ENROLMENT_REFUSED': {
      const remedy = REMEDIES[error.details.status] ?? error.details.remedy;
      return new OtaError('ENROLMENT_REFUSED', { ...error.details, remedy }, { cause: error });
    }
    default:
      return error;
  }
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
