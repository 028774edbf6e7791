/** The token: its library, itself, our way into it, and what it can do. */
import { isOtaError, OtaError } from '../../errors.ts';
import { reviewKeyTypes, supportedKeyTypes } from '../../io/token/key-review.ts';
import { PROVISION } from '../../io/token/token-errors.ts';
import { describeModule, isBlank, readTokenFacts } from '../../io/token/token-facts.ts';
import { openToken, type Token, type TokenSettings } from '../../io/token/token.ts';
import { ok, warn, type Check, type Examination, type Finding } from './check.ts';

export const TOKEN_CHECKS: readonly Check[] = [
  {
    name: 'token-module',
    needs: ['configuration'],
    code: 'TOKEN_MODULE',
    examine: (examination) => ok(describeModule(examination.get('loaded').settings.token)),
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
  return ok(`${where}, ${LOGINS[settings.login]}`);
}

const LOGINS: Readonly<Record<TokenSettings['login'], string>> = {
  pin: 'PIN accepted',
  'tee-user': 'known to OP-TEE as the user of this process',
  'tee-group': 'known to OP-TEE by the group',
  none: 'without login',
};

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
  const { identity } = examination.get('loaded').settings;
  reviewKeyTypes(token, identity, identity);
  const can = (use: 'tls' | 'uptane'): string => supportedKeyTypes(token, use).join(', ');
  const { tls_key_type: tls, uptane_key_type: uptane } = identity;
  return ok(
    `all that ${tls} (TLS) and ${uptane} (Uptane) need; it can do ${can('tls')} (TLS), ${can('uptane')} (Uptane)`,
  );
}
