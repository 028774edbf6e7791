/** A certificate or a TLS key takes the place of another: what is done at each step. */
import { OtaError } from '../agent/errors.ts';
import {
  readCertificates,
  addCertificate,
  destroyCertificates,
} from '../agent/io/token/certificate.ts';
import { tidyChain } from '../agent/io/token/chain.ts';
import { TLS_KEY, type ObjectName } from '../agent/io/token/cryptoki.ts';
import { nameOf } from '../agent/io/token/generations.ts';
import { inspectKey, type TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import { fingerprintOf } from '../agent/io/tls.ts';
import { certificateParts } from './certificate.ts';
import { storeIssuers } from './issued.ts';
import { anotherCertificate, findSuccessor, type Succession } from './reissue.ts';
import { destroyOthers, makeKey } from './key-succession.ts';
import { withToken, type Means } from './rotate-means.ts';
import type { Hands } from './rotate.ts';
import type { Rotation, Which } from './rotation.ts';
import { choiceFor } from './rotation-record.ts';

/** Any device gateway has it, and it says that the gateway takes us for a device of its own. */
const PROOF = '/director/1.root.json';

/** @param means - of the agent around it */
export function tlsHands(means: Means): Hands {
  return {
    make: (rotation) =>
      withToken(means, (token) => {
        const name = nameOf(TLS_KEY, rotation.newKey);
        makeKey(token, name, means.settings.identity.tls_key_type);
      }),
    certify: (rotation) => withToken(means, (token) => certify(means, token, rotation)),
    register: () => Promise.reject(new Error('no Director is told of a TLS key')),
    prove: (rotation, which) => prove(means, rotation, which),
    remove: (rotation, which) => remove(means, rotation, which),
  };
}

/** One that an interrupted step has stored already is not asked for again. */
async function certify(means: Means, token: Token, rotation: Rotation): Promise<void> {
  const name = nameOf(TLS_KEY, rotation.newKey);
  const succession: Succession = {
    of: rotation.of === 'certificate' ? 'certificate' : 'tls',
    key: wholeKey(token, name),
    name,
    before: means.identity().certificate,
    now: means.now(),
  };
  if (findSuccessor(readCertificates(token), succession) !== undefined) return;
  const issued = await anotherCertificate(means, token, succession);
  storeIssuers(token, issued);
  addCertificate(token, certificateParts(issued.certificate.pem), name);
}

function wholeKey(token: Token, name: ObjectName): TokenKey {
  const state = inspectKey(token, name);
  if (state.is === 'whole') return state.key;
  const problem = state.is === 'broken' ? state.problem : 'the new key is gone';
  const remedy = 'rotate again';
  throw new OtaError('TOKEN_OBJECT', { uri: `${token.uri} ${name.label}`, problem, remedy });
}

/**
 * A handshake with that key and certificate, and a request that the gateway answers.
 *
 * In TLS 1.3 the handshake alone proves nothing: a refusal comes after it.
 */
async function prove(means: Means, rotation: Rotation, which: Which): Promise<void> {
  const identity = means.load({ ...choiceFor(rotation, which), is: 'demanded' });
  const gateway = means.gatewayAs(identity);
  try {
    const { status, body } = await gateway('GET', PROOF);
    if (status < 500 && status !== 401 && status !== 403) return;
    const answer = Buffer.from(body).toString('utf8').trim().slice(0, 200);
    throw new OtaError('GATEWAY_ANSWER', { url: PROOF, status, answer });
  } finally {
    await gateway.close();
    identity.token.close();
  }
}

async function remove(means: Means, rotation: Rotation, which: Which): Promise<void> {
  await use(means, rotation, which === 'old' ? 'new' : 'old');
  const { certificate, keys } = means.identity();
  const gone = which === 'old' ? rotation.oldKey : rotation.newKey;
  await withToken(means, (token) => {
    destroyCertificates(token, TLS_KEY, (der) => fingerprintOf(der) !== certificate.fingerprint);
    if (rotation.of === 'tls') destroyOthers(token, keys.tls, nameOf(TLS_KEY, gone));
    tidyChain(token);
  });
}

/** After a restart at this step it is what was loaded. */
async function use(means: Means, rotation: Rotation, which: Which): Promise<void> {
  const { keys, certificate } = means.identity();
  const key = which === 'old' ? rotation.oldKey : rotation.newKey;
  const isOldCertificate = certificate.fingerprint === rotation.oldCertificate;
  const isKey = keys.tls.generation === nameOf(TLS_KEY, key).generation;
  if (isKey && isOldCertificate === (which === 'old')) return;
  await means.adopt(means.load({ ...choiceFor(rotation, which), is: 'demanded' }));
}
