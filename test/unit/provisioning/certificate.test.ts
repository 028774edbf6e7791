import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { certificateParts, parseCertificates } from '../../../provisioning/certificate.ts';

/** `openssl x509 -new -subj /O=Works/CN=device-0001 -set_serial 0x80112233445566778899` */
const DEVICE = Buffer.from(
  'MIIBJTCBzQILAIARIjNEVWZ3iJkwCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCY2EwIBcNMjYxMTIxMDcyMTMwWhgPMj' +
    'EyNjEwMjgwNzIxMzBaMCYxDjAMBgNVBAoMBVdvcmtzMRQwEgYDVQQDDAtkZXZpY2UtMDAwMTBZMBMGByqGSM49AgEG' +
    'CCqGSM49AwEHA0IABCbAtPwHR5q/Kimly4f0zpWpagz+wr+B9KCBtJuRlAXEAP7WiXlEp3YWLehbgLFUo+78B8jDZG' +
    '9VVQCnF7Xs8AowCgYIKoZIzj0EAwIDRwAwRAIgFgej6BraTxS2S2+OV12GNPUvvzCy6tWfFdb+6CD2glICIALhrIl9' +
    'hW88zK487kQxcq9kkWuH0CM113eMvfpgPSH/',
  'base64',
);
/** `openssl crl2pkcs7 -nocrl`: that certificate, then its CA. */
const CERTS_ONLY = Buffer.from(
  'MIICxwYJKoZIhvcNAQcCoIICuDCCArQCAQExADALBgkqhkiG9w0BBwGgggKcMIIBJTCBzQILAIARIjNEVWZ3iJkwCg' +
    'YIKoZIzj0EAwIwDTELMAkGA1UEAwwCY2EwIBcNMjYxMTIxMDcyMTMwWhgPMjEyNjEwMjgwNzIxMzBaMCYxDjAMBgNV' +
    'BAoMBVdvcmtzMRQwEgYDVQQDDAtkZXZpY2UtMDAwMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCbAtPwHR5q/Ki' +
    'mly4f0zpWpagz+wr+B9KCBtJuRlAXEAP7WiXlEp3YWLehbgLFUo+78B8jDZG9VVQCnF7Xs8AowCgYIKoZIzj0EAwID' +
    'RwAwRAIgFgej6BraTxS2S2+OV12GNPUvvzCy6tWfFdb+6CD2glICIALhrIl9hW88zK487kQxcq9kkWuH0CM113eMvf' +
    'pgPSH/MIIBbzCCARWgAwIBAgIUN9QdKX0gNkZdgEFGFsAgWAvhPLkwCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCY2Ew' +
    'HhcNMjYxMTIxMDYxMjA2WhcNMjYxMjAxMDYxMjA2WjANMQswCQYDVQQDDAJjYTBZMBMGByqGSM49AgEGCCqGSM49Aw' +
    'EHA0IABFBtXUsdXnHlmrZE9biJzk5FPnvIf+e8/PtvZimtHc1COv8McWM63NC2TDA7E6FRIzi+v8t2oMTSVr0gXS4W' +
    'dUejUzBRMB0GA1UdDgQWBBRuguRu4Pwh1dV29/kW3UM8nFOLPTAfBgNVHSMEGDAWgBRuguRu4Pwh1dV29/kW3UM8nF' +
    'OLPTAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQD2utK6wZ26z+Ae8pYYY+vwC376ViX7GS7pjz+F' +
    'sSKdJgIgENlMcEisjlhtPROOhGaWHN5Nwc42pWnQ9JW2x2vkG5wxAA==',
  'base64',
);

describe('certificates of provisioning', () => {
  test('give out the fields of a certificate object as they stand in the certificate', () => {
    const parts = certificateParts(DEVICE);
    assert.deepEqual(Buffer.from(parts.der), DEVICE);
    // The first octet is 0: without it, the serial number would be negative.
    const serial = Buffer.from('020b0080112233445566778899', 'hex');
    assert.deepEqual(Buffer.from(parts.serialNumber), serial);
    const [at, subject, issuer] = [parts.serialNumber, parts.subject, parts.issuer].map((part) =>
      DEVICE.indexOf(Buffer.from(part)),
    );
    assert.ok(at !== undefined && subject !== undefined && issuer !== undefined);
    assert.ok(0 < at && at < issuer && issuer < subject, 'in the order of RFC 5280 §4.1');
  });

  test('read PEM and DER alike', () => {
    const pem = new X509Certificate(DEVICE).toString();
    assert.deepEqual(certificateParts(pem), certificateParts(DEVICE));
  });

  test('take every certificate out of a PKCS#7 message (RFC 7030 §4.2.3)', () => {
    const names = parseCertificates(CERTS_ONLY).map((der) => new X509Certificate(der).subject);
    assert.deepEqual(names.sort(), ['CN=ca', 'O=Works\nCN=device-0001']);
  });

  test('fail on a message with any one byte cut off or added, or give whole certificates', () => {
    fc.assert(
      fc.property(fc.nat(CERTS_ONLY.length - 1), (length) => {
        assert.throws(() => parseCertificates(CERTS_ONLY.subarray(0, length)));
      }),
    );
    fc.assert(
      fc.property(fc.nat(CERTS_ONLY.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Buffer.from(CERTS_ONLY);
        changed[at] = (changed[at] ?? 0) ^ flip;
        try {
          for (const der of parseCertificates(changed)) assert.equal(der[0], 0x30);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      }),
    );
  });
});
