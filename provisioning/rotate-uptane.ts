/**
 * Another Uptane key for the Primary: what is done at each step.
 *
 * Directors of the field answer a registration of a known ECU with another key in four ways: they take
 * it (200), they do not allow it (409), not now (412), or they say 200 and keep the old key. Only a
 * manifest tells, so none of the two keys goes before a manifest signed with the other was accepted.
 */
import { isOtaError, OtaError } from '../agent/errors.ts';
import { UPTANE_KEY } from '../agent/io/token/cryptoki.ts';
import { nameOf } from '../agent/io/token/generations.ts';
import { inspectKey, type TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import { openSigner } from '../agent/io/token/uptane-key.ts';
import { destroyOthers, makeKey } from './key-succession.ts';
import { PATH, refused, registrationAccepted, registrationBody } from './register.ts';
import { withToken, type Means } from './rotate-means.ts';
import type { Hands } from './rotate.ts';
import type { Rotation, Which } from './rotation.ts';
import { choiceFor } from './rotation-record.ts';

/** @param means - of the agent around it */
export function uptaneHands(means: Means): Hands {
  return {
    make: (rotation) =>
      withToken(means, (token) => {
        const name = nameOf(UPTANE_KEY, rotation.newKey);
        makeKey(token, name, means.settings.identity.uptane_key_type);
      }),
    certify: () => Promise.reject(new Error('no certificate is for an Uptane key')),
    register: (rotation) => register(means, rotation),
    prove: (rotation, which) => prove(means, rotation, which),
    remove: (rotation, which) => remove(means, rotation, which),
  };
}

async function register(means: Means, rotation: Rotation): Promise<void> {
  const body = await bodyFor(means, rotation);
  const answer = await means.gateway('POST', PATH, body);
  if (answer.status === 200 || answer.status === 201) return;
  const error = refused(answer);
  if (error.code !== 'ENROLMENT_REFUSED') throw error;
  const remedy = REMEDIES[answer.status] ?? 'see the log of the Director; the old key stays in use';
  throw new OtaError('ENROLMENT_REFUSED', { ...error.details, remedy });
}

const REMEDIES: Readonly<Record<number, string>> = {
  409: 'allow the Director to replace ECU keys, then rotate again; until then the old key stays in use',
  412: 'an update is assigned to this ECU: finish or cancel it, then rotate again; the old key stays in use',
};

/** A manifest with that signature, which the Director accepts or not. */
async function prove(means: Means, rotation: Rotation, which: Which): Promise<void> {
  const name = nameOf(UPTANE_KEY, which === 'new' ? rotation.newKey : rotation.oldKey);
  await withToken(means, async (token) => {
    try {
      await means.offerManifest(openSigner(token, name));
    } catch (error) {
      throw isRefusedNewKey(error, which) ? notTaken(error) : error;
    }
  });
}

function isRefusedNewKey(error: unknown, which: Which): error is OtaError<'GATEWAY_ANSWER'> {
  return which === 'new' && isOtaError(error) && error.code === 'GATEWAY_ANSWER';
}

/** After a registration that was answered well. */
function notTaken(error: OtaError<'GATEWAY_ANSWER'>): OtaError {
  if (error.details.status >= 500) return error;
  const remedy =
    'the Director took the registration and yet accepts no manifest by the new key: allow it to ' +
    'replace ECU keys, then rotate again; the old key stays in use';
  return new OtaError('ENROLMENT_REFUSED', { ...error.details, remedy }, { cause: error });
}

async function remove(means: Means, rotation: Rotation, which: Which): Promise<void> {
  if (which === 'old') {
    await registrationAccepted(means.record, await bodyFor(means, rotation));
  }
  await use(means, rotation, which === 'old' ? 'new' : 'old');
  const gone = which === 'old' ? rotation.oldKey : rotation.newKey;
  await withToken(means, (token) => {
    destroyOthers(token, means.identity().keys.uptane, nameOf(UPTANE_KEY, gone));
  });
}

/** After a restart at this step it is what was loaded. */
async function use(means: Means, rotation: Rotation, which: Which): Promise<void> {
  const { keys, certificate } = means.identity();
  const { uptane = UPTANE_KEY } = choiceFor(rotation, which);
  if (keys.uptane.generation === uptane.generation) return;
  const current = { fingerprint: certificate.fingerprint, use: 'this' } as const;
  await means.adopt(means.load({ tls: keys.tls, certificate: current, uptane, is: 'demanded' }));
}

async function bodyFor(means: Means, { newKey }: Rotation): Promise<Uint8Array> {
  const key = await withToken(means, (token) => wholeKey(token, newKey));
  return registrationBody(await means.ecus(), key);
}

function wholeKey(token: Token, generation: string): TokenKey {
  const state = inspectKey(token, nameOf(UPTANE_KEY, generation));
  if (state.is === 'whole') return state.key;
  const problem = state.is === 'broken' ? state.problem : 'the new key is gone';
  const uri = `${token.uri} ${UPTANE_KEY.label}`;
  throw new OtaError('TOKEN_OBJECT', { uri, problem, remedy: 'rotate again' });
}
