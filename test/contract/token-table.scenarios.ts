/** What a token and OpenSSL's engine can really do with each type of key, in a process of its own. */
import { constants, verify, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLSSocket, type SecureContext } from 'node:tls';

import { isOtaError } from '../../agent/errors.ts';
import { createIdentityContext } from '../../agent/io/tls.ts';
import { TLS_KEY } from '../../agent/io/token/cryptoki.ts';
import { initialiseToken, initialiseUserPin } from '../../agent/io/token/initialise.ts';
import {
  KEY_TYPES,
  TLS_KEY_TYPES,
  UPTANE_KEY_TYPES,
  type KeyType,
} from '../../agent/io/token/key-types.ts';
import { destroyKey, generateKey } from '../../agent/io/token/keys.ts';
import { derSignature, signInToken } from '../../agent/io/token/sign.ts';
import { openToken, type Token, type TokenSettings } from '../../agent/io/token/token.ts';
import type { Authority, Leaf } from '../support/certificates.ts';
import { certify } from '../support/certify.ts';

export interface ProbeArgs {
  readonly settings: TokenSettings;
  readonly type: KeyType;
  readonly authority: Authority;
  readonly server: Leaf;
  readonly directory: string;
}

const PAYLOAD = Buffer.from('{"report_counter":"1"}');

export function initialise({ settings }: Pick<ProbeArgs, 'settings'>): void {
  initialiseToken(settings, process.env);
  initialiseUserPin(settings, process.env);
}

/**
 * Makes one key, signs with it, shakes hands with it, destroys it.
 *
 * @returns what it is good for; empty if the token cannot make such a key
 */
export async function probe(args: ProbeArgs): Promise<string[]> {
  const { settings, type } = args;
  const token = openToken(settings, 'read-write', process.env);
  const publicKey = make(token, type);
  if (publicKey === undefined) return [];
  try {
    const uses: string[] = [];
    if (isOneOf(TLS_KEY_TYPES, type) && (await shakesHands(args, token, publicKey))) {
      uses.push('TLS');
    }
    if (isOneOf(UPTANE_KEY_TYPES, type) && signs(token, type, publicKey)) uses.push('Uptane');
    return uses;
  } finally {
    destroyKey(token, TLS_KEY);
  }
}

function make(token: Token, type: KeyType): KeyObject | undefined {
  try {
    return generateKey(token, TLS_KEY, type).publicKey;
  } catch (error) {
    if (isOtaError(error) && error.code === 'TOKEN_MECHANISM') return undefined;
    throw error;
  }
}

function signs(token: Token, type: KeyType, key: KeyObject): boolean {
  const signature = signInToken(token, TLS_KEY, KEY_TYPES[type].manifest, PAYLOAD);
  if (type === 'ed25519') return verify(null, PAYLOAD, key, signature);
  if (type.startsWith('ec-')) return verify('sha256', PAYLOAD, key, derSignature(signature));
  const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
  return verify('sha256', PAYLOAD, pss, signature);
}

/** Both versions of TLS: they ask an RSA key for different signatures. */
async function shakesHands(args: ProbeArgs, token: Token, key: KeyObject): Promise<boolean> {
  const { directory, authority } = args;
  const pem = key.export({ type: 'spki', format: 'pem' }).toString();
  const certificatePem = certify(directory, authority, pem, { commonName: 'device-0001' });
  const credential = { key: TLS_KEY, certificatePem };
  const trust = { caPem: authority.certificatePem };
  const { context } = createIdentityContext(token, credential, trust, 'engine');
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    if ((await greet(args, version, context)) !== `${version} device-0001`) return false;
  }
  return true;
}

async function greet(
  { authority, server }: ProbeArgs,
  version: 'TLSv1.2' | 'TLSv1.3',
  secureContext: SecureContext,
): Promise<string> {
  const listening = createServer(
    {
      key: server.keyPem,
      cert: server.certificatePem,
      ca: authority.certificatePem,
      requestCert: true,
      minVersion: version,
      maxVersion: version,
    },
    ({ socket }, response) => {
      if (!(socket instanceof TLSSocket)) throw new Error('not TLS');
      response.end(
        `${String(socket.getProtocol())} ${String(socket.getPeerCertificate().subject.CN)}`,
      );
    },
  );
  await once(listening.listen(0, 'localhost'), 'listening');
  const { port } = listening.address() as AddressInfo;
  const options = { host: 'localhost', port, secureContext, agent: false };
  const sent = request(options).end();
  try {
    const [response] = (await once(sent, 'response')) as [AsyncIterable<Buffer>];
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part);
    return Buffer.concat(parts).toString();
  } finally {
    listening.closeAllConnections();
    listening.close();
  }
}

function isOneOf(types: readonly KeyType[], type: KeyType): boolean {
  return types.includes(type);
}
