/** Uptane keys: in the shared emulated token, or in memory where it would carry no more. */
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';

import { initialiseToken, initialiseUserPin } from '../../agent/io/token/initialise.ts';
import { generateKey } from '../../agent/io/token/keys.ts';
import { openToken, type Token, type TokenSettings } from '../../agent/io/token/token.ts';
import { clientKey, keyIdOf, openSigner } from '../../agent/io/token/uptane-key.ts';
import type { Signer } from '../../agent/ports.ts';
import type { Member } from './population.ts';

export interface UptaneKey {
  readonly publicKey: KeyObject;
  readonly signer: Signer;
}

/** Once, before the processes of the fleet open it. */
export function prepareToken(settings: TokenSettings): void {
  initialiseToken(settings, process.env);
  initialiseUserPin(settings, process.env);
}

export class UptaneKeys {
  readonly #settings: TokenSettings | undefined;
  #token: Token | undefined;

  /** @param token - where members with a key in the token have it */
  constructor(token: TokenSettings | undefined) {
    this.#settings = token;
  }

  make({ id, key }: Member): UptaneKey {
    return key === 'token' ? this.#inToken(id) : inMemory();
  }

  close(): void {
    this.#token?.close();
  }

  /** One session for all: the devices of a process take turns, as PKCS#11 wants it. */
  #inToken(id: string): UptaneKey {
    if (this.#settings === undefined) throw new Error('there is no token');
    this.#token ??= openToken(this.#settings, 'read-write', process.env);
    const name = { label: id, id: Number(id.replace(/\D/gu, '')) };
    const { publicKey } = generateKey(this.#token, name, 'ed25519');
    return { publicKey, signer: openSigner(this.#token, name) };
  }
}

function inMemory(): UptaneKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const signer: Signer = {
    keyId: keyIdOf(clientKey(publicKey)),
    method: 'ed25519',
    sign: (payload) => Promise.resolve(sign(null, payload, privateKey).toString('base64')),
  };
  return { publicKey, signer };
}
