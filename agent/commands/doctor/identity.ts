/** Who this device is: its keys, its certificate, and how TLS reaches them. */
import { OtaError } from '../../errors.ts';
import { identitySettings } from '../../io/gateway-trust.ts';
import { readFileIdentity } from '../../io/tls-file.ts';
import {
  checkDeviceCertificate,
  createIdentityContext,
  parseDeviceCertificate,
  type DeviceCertificate,
} from '../../io/tls.ts';
import { readCertificates } from '../../io/token/certificate.ts';
import { TLS_KEY, UPTANE_KEY, type ObjectName } from '../../io/token/cryptoki.ts';
import { checkKeyAttributes } from '../../io/token/key-attributes.ts';
import { inspectKey, type TokenKey } from '../../io/token/keys.ts';
import { PROVISION } from '../../io/token/token-errors.ts';
import { formatInstant, type Instant } from '../../uptane/time.ts';
import { notHere, ok, warn, type Check, type Examination, type Finding } from './check.ts';

export const IDENTITY_CHECKS: readonly Check[] = [
  { name: 'tls-key', needs: ['token'], code: 'TOKEN_FAILED', examine: examineTlsKey },
  { name: 'uptane-key', needs: ['token'], code: 'TOKEN_FAILED', examine: examineUptaneKey },
  {
    name: 'certificate',
    needs: ['token', 'tls-key', 'clock'],
    code: 'CERTIFICATE_INVALID',
    examine: examineCertificate,
  },
  { name: 'tls-backend', needs: ['certificate'], code: 'TOKEN_MODULE', examine: examineBackend },
];

const IN_A_FILE = notHere('not looked at: token.tls_backend = "file"');

function examineTlsKey(examination: Examination): Finding {
  const { token: settings, identity } = examination.get('loaded').settings;
  if (settings.tls_backend === 'file') return IN_A_FILE;
  const key = wholeKey(examination, TLS_KEY);
  examination.note('tlsKey', key);
  return judgeType(key, identity.tls_key_type, 'identity.tls_key_type');
}

function examineUptaneKey(examination: Examination): Finding {
  const { uptane_key_type: wanted } = examination.get('loaded').settings.identity;
  return judgeType(wholeKey(examination, UPTANE_KEY), wanted, 'identity.uptane_key_type');
}

function wholeKey(examination: Examination, name: ObjectName): TokenKey {
  const token = examination.get('token');
  const state = inspectKey(token, name);
  if (state.is === 'absent') {
    const missing = `key "${name.label}" in token ${token.uri}`;
    throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
  }
  if (state.is === 'broken') {
    const { problem } = state;
    throw new OtaError('TOKEN_OBJECT', { uri: name.label, problem, remedy: PROVISION });
  }
  checkKeyAttributes(token, name);
  return state.key;
}

function judgeType({ type }: TokenKey, wanted: string, setting: string): Finding {
  if (type === wanted) return ok(`${type}, made in the token, cannot leave it`);
  const remedy = `set ${setting} = "${type}"; the setting is for keys that are still to be made`;
  return warn(`it is ${type}, and ${setting} says ${wanted}`, remedy);
}

function examineCertificate(examination: Examination): Finding {
  const { settings } = examination.get('loaded');
  const now = examination.get('clock').now();
  if (settings.token.tls_backend === 'file') return IN_A_FILE;
  const certificate = ourCertificate(examination, now);
  examination.note('certificate', certificate);
  return judgeCertificate(certificate, settings.device.id, now);
}

/** The first that is good; else what is wrong with the first. */
function ourCertificate(examination: Examination, now: Instant): DeviceCertificate {
  const token = examination.get('token');
  const { publicKey } = examination.get('tlsKey');
  const problems: unknown[] = [];
  for (const der of readCertificates(token)) {
    try {
      const certificate = parseDeviceCertificate(der, `certificate "${TLS_KEY.label}"`);
      checkDeviceCertificate(certificate, publicKey, now);
      return certificate;
    } catch (error) {
      problems.push(error);
    }
  }
  if (problems.length > 0) throw problems[0];
  const missing = `certificate "${TLS_KEY.label}" in token ${token.uri}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
}

/**
 * @param id - `device.id`, where it is set
 * @throws OtaError CERTIFICATE_INVALID if the gateway would take us for another device
 */
function judgeCertificate(
  { commonName, validFrom, validTo }: DeviceCertificate,
  id: string | undefined,
  now: Instant,
): Finding {
  if (id !== undefined && id !== commonName) {
    throw new OtaError('CERTIFICATE_INVALID', {
      what: `certificate of ${commonName}`,
      problem: `device.id is ${id}`,
      remedy: 'set device.id to the name in the certificate, or have another one issued',
    });
  }
  const detail = `${commonName}, valid to ${formatInstant(validTo)}`;
  // Two thirds of its life: late enough to be worth it, early enough to try often.
  if (now < validFrom + ((validTo - validFrom) * 2) / 3) return ok(detail);
  const remedy =
    'renew it before that: see that the enrolment server answers, then run ota-agent provision';
  return warn(`${detail}: renewal is due`, remedy);
}

function examineBackend(examination: Examination): Finding {
  const { settings } = examination.get('loaded');
  const { tls_backend: wanted } = settings.token;
  if (wanted === 'file') {
    const { certificate, open } = readFileIdentity(
      identitySettings(settings),
      examination.get('clock').now(),
    );
    const { choice } = open({});
    examination.note('contextFor', (trust) => open(trust).context);
    return warn(
      `file: ${certificate.commonName}: ${choice.reason}`,
      'set token.tls_backend = "auto"',
    );
  }
  const token = examination.get('token');
  const { pem } = examination.get('certificate');
  const { choice } = createIdentityContext(token, pem, {}, wanted);
  examination.note(
    'contextFor',
    (trust) => createIdentityContext(token, pem, trust, wanted).context,
  );
  return ok(`${choice.backend}: ${choice.reason}`);
}
