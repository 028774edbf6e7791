/** The token: its library, itself, our way into it, and what it can do. */
import { isOtaError, OtaError } from '../../errors.ts';
import { CKM } from '../../io/token/cryptoki.ts';
import { PROVISION } from '../../io/token/token-errors.ts';
import { describeModule, isBlank, readTokenFacts } from '../../io/token/token-facts.ts';
import { openToken, type Token, type TokenSettings } from '../../io/token/token.ts';
import { ok, warn, type Check, type Examination, type Finding } from './check.ts';

export const TOKEN_CHECKS: readonly Check[] = [
  {
    name: 'token-module',
    needs: ['configuration'],
    code: 'TOKEN_MODULE',
    examine: (examination) => ok(describeModule(examination.get('loaded').settings.token.module)),
  },
  { name: 'token', needs: ['token-module'], code: 'TOKEN_FAILED', examine: examineToken },
  { name: 'mechanisms', needs: ['token'], code: 'TOKEN_MECHANISM', examine: examineMechanisms },
];

function examineToken(examination: Examination): Finding {
  const settings = examination.get('loaded').settings.token;
  if (examination.find('storage') === undefined && isBlank(settings)) {
    const missing = `token ${settings.uri}: there is a blank one to make it of`;
    throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
  }
  // Read first: a login that goes well takes the count of the tries before back.
  const { label, slotId, hasUserPin, triesLeft } = readTokenFacts(settings);
  if (settings.login === 'pin' && !hasUserPin) {
    const missing = `the user PIN of token ${settings.uri}`;
    throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
  }
  examination.note('token', openOurToken(settings, examination.env));
  const where = `"${label}" in slot ${String(slotId)}`;
  if (triesLeft === 'at least 1, fewer than the full number') {
    return warn(
      `${where}: somebody has tried a wrong PIN`,
      'find out who; the right one, just now, has set the count of tries back',
    );
  }
  return ok(settings.login === 'pin' ? `${where}, PIN accepted` : `${where}, without login`);
}

/** A PIN that is a credential of the service is not there for who runs doctor by hand. */
function openOurToken(settings: TokenSettings, env: NodeJS.ProcessEnv): Token {
  try {
    return openToken(settings, 'read-only', env);
  } catch (error) {
    if (!isOtaError(error) || error.code !== 'TOKEN_PIN_MISSING') throw error;
    const { which, remedy: usual } = error.details;
    const remedy = `${usual}; if the service has it: ${AS_SERVICE}`;
    throw new OtaError('TOKEN_PIN_MISSING', { which, remedy }, { cause: error });
  }
}

const AS_SERVICE =
  'systemd-run --pipe --wait -p User=ota-agent -p LoadCredential=pin:ota-agent.pin ota-agent doctor';

function examineMechanisms(examination: Examination): Finding {
  const token = examination.get('token');
  const { tls_key_type: tls, uptane_key_type: uptane } =
    examination.get('loaded').settings.identity;
  for (const wanted of [
    generation(tls),
    generation(uptane),
    tlsSignature(tls),
    signature(uptane),
  ]) {
    token.chooseMechanism(...wanted);
  }
  return ok(`all that ${tls} (TLS) and ${uptane} (Uptane) need`);
}

function generation(type: string): readonly number[] {
  if (type.startsWith('rsa')) return [CKM.RSA_PKCS_KEY_PAIR_GEN];
  return type.startsWith('ec') ? [CKM.EC_KEY_PAIR_GEN] : [CKM.EC_EDWARDS_KEY_PAIR_GEN];
}

/** Of handshakes: OpenSSL makes the digest, and for TLS 1.3 the padding, too. */
function tlsSignature(type: string): readonly number[] {
  return type.startsWith('rsa') ? [CKM.RSA_PKCS_PSS, CKM.RSA_PKCS] : [CKM.ECDSA];
}

/** Of manifests. */
function signature(type: string): readonly number[] {
  if (type.startsWith('rsa')) return [CKM.SHA256_RSA_PKCS_PSS, CKM.RSA_PKCS_PSS];
  return type.startsWith('ec') ? [CKM.ECDSA_SHA256, CKM.ECDSA] : [CKM.EDDSA];
}
