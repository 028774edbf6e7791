/** Who this device is: its keys, its certificate, and how TLS reaches them. */
import { OtaError } from '../../errors.ts';
import { identitySettings } from '../../io/gateway-trust.ts';
import { readFileIdentity } from '../../io/tls-file.ts';
import { createIdentityContext, type DeviceCertificate } from '../../io/tls.ts';
import { TLS_KEY, UPTANE_KEY, type ObjectName } from '../../io/token/cryptoki.ts';
import { listGenerations } from '../../io/token/generations.ts';
import { chooseCredential } from '../../io/token/identity.ts';
import { checkKeyAttributes, type KeyWarning } from '../../io/token/key-attributes.ts';
import { inspectKey, type TokenKey } from '../../io/token/keys.ts';
import { findNamedObjects, type FoundObjects } from '../../io/token/named-objects.ts';
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

/** Share of a certificate's life after which it should have been renewed. */
const LATE = 0.8;

const FOREIGN_KEY =
  'rotate it (ota-agent rotate), so that it is one of the token alone, and unset identity.allow_imported';

const IN_A_FILE = notHere('not looked at: token.tls_backend = "file"');

function examineTlsKey(examination: Examination): Finding {
  const { token: settings, identity } = examination.get('loaded').settings;
  if (settings.tls_backend === 'file') return IN_A_FILE;
  const key = wholeKey(examination, named(examination).tls ?? TLS_KEY);
  return judgeKey(key, identity.tls_key_type, 'identity.tls_key_type');
}

function examineUptaneKey(examination: Examination): Finding {
  const { uptane_key_type: wanted } = examination.get('loaded').settings.identity;
  return judgeKey(
    wholeKey(examination, named(examination).uptane ?? UPTANE_KEY),
    wanted,
    'identity.uptane_key_type',
  );
}

/** What the settings name instead of ours. */
function named(examination: Examination): FoundObjects {
  const { identity } = examination.get('loaded').settings;
  return findNamedObjects(examination.get('token'), identity);
}

function wholeKey(examination: Examination, label: ObjectName): ExaminedKey {
  const token = examination.get('token');
  // While one takes another's place there are two; a name with a CKA_ID is one already.
  const name =
    label.generation === undefined
      ? (listGenerations(token, label).find((one) => inspectKey(token, one).is === 'whole') ??
        label)
      : label;
  const state = inspectKey(token, name);
  if (state.is === 'absent') {
    const missing = `key "${name.label}" in token ${token.uri}`;
    throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
  }
  if (state.is === 'broken') {
    const { problem } = state;
    throw new OtaError('TOKEN_OBJECT', { uri: name.label, problem, remedy: PROVISION });
  }
  const { allow_imported: allow } = examination.get('loaded').settings.identity;
  return { ...state.key, imported: checkKeyAttributes(token, name, allow) };
}

/** `imported`: what `identity.allow_imported` lets pass. */
interface ExaminedKey extends TokenKey {
  readonly imported: KeyWarning | undefined;
}

function judgeKey({ type, imported }: ExaminedKey, wanted: string, setting: string): Finding {
  if (imported !== undefined) return warn(`${type}: ${imported}`, FOREIGN_KEY, 'TOKEN_KEY_UNSAFE');
  if (type === wanted) return ok(`${type}, made in the token, cannot leave it`);
  const remedy = `set ${setting} = "${type}"; the setting is for keys that are still to be made`;
  return warn(`it is ${type}, and ${setting} says ${wanted}`, remedy);
}

function examineCertificate(examination: Examination): Finding {
  const { settings } = examination.get('loaded');
  const now = examination.get('clock').now();
  if (settings.token.tls_backend === 'file') return IN_A_FILE;
  const token = examination.get('token');
  const credential = chooseCredential(token, named(examination), { is: 'preferred' }, now);
  examination.note('credential', credential);
  const { certificate } = credential;
  return judgeCertificate(certificate, settings.device.id, now);
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
  // Between the default of identity.renew_at and the end: the agent has tried for a while.
  if (now < validFrom + (validTo - validFrom) * LATE) return ok(detail);
  const remedy = 'see why it is not renewed: ota-agent status, then ota-agent rotate certificate';
  return warn(`${detail}: renewal is overdue`, remedy);
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
  const { key, certificate } = examination.get('credential');
  const credential = { key, certificatePem: certificate.pem };
  const { choice } = createIdentityContext(token, credential, {}, wanted);
  examination.note(
    'contextFor',
    (trust) => createIdentityContext(token, credential, trust, wanted).context,
  );
  return ok(`${choice.backend}: ${choice.reason}`);
}
