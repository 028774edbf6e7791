/** Step 1: a token with our label, an SO PIN and a user PIN. */
import { initialiseToken, initialiseUserPin } from '../agent/io/token/initialise.ts';
import type { Provisioning } from './record.ts';

/**
 * Initialises the token and sets its user PIN, as far as that is not done.
 *
 * A token that has our label is never initialised again: that would destroy its keys.
 *
 * @throws OtaError TOKEN_MODULE, TOKEN_ABSENT, TOKEN_OBJECT, TOKEN_PIN_MISSING, TOKEN_PIN_INCORRECT,
 *   TOKEN_FAILED, CONFIG_INVALID
 */
export function provisionToken({ settings, env, say }: Provisioning): void {
  const { token } = settings;
  say('token', initialiseToken(token, env), `initialised ${token.uri}`);
  if (token.login === 'none') return;
  say('token', initialiseUserPin(token, env), 'user PIN set');
}
