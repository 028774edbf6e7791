/**
 * How fast the emulator signs, from a C_Sign in this process to the secure world and back.
 *
 *     node test/bench/tee-sign.bench.ts [SECONDS]
 *
 * Needs the C library: make -C test/tee/normal-world. Prints operations per second and percentiles;
 * judges nothing.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';

import { SecureWorld } from '../integration/tee-secure-world-process.ts';
import {
  CKA,
  CKM,
  ED25519,
  firstSlot,
  loadToken,
  openUserSession,
  P256,
  prepareToken,
  pssSha256,
  type Handle,
  type Mechanism,
  type Template,
  type Token,
} from '../integration/tee-secure-world-token.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const DEFAULT_SECONDS = 2;
const WARM_UP = 50;
const CKK_EC_EDWARDS = 0x40;
const DIGEST = createHash('sha256').update('digest').digest();

interface Scheme {
  readonly name: string;
  readonly generate: Mechanism;
  readonly kind: Template;
  readonly sign: Mechanism;
}

const SCHEMES: readonly Scheme[] = [
  {
    name: 'ECDSA P-256, digest',
    generate: { mechanism: CKM.EC_KEY_PAIR_GEN },
    kind: [{ type: CKA.EC_PARAMS, value: P256 }],
    sign: { mechanism: CKM.ECDSA },
  },
  {
    name: 'ECDSA P-256, SHA-256',
    generate: { mechanism: CKM.EC_KEY_PAIR_GEN },
    kind: [{ type: CKA.EC_PARAMS, value: P256 }],
    sign: { mechanism: CKM.ECDSA_SHA256 },
  },
  {
    name: 'RSA-2048 PSS, digest',
    generate: { mechanism: CKM.RSA_PKCS_KEY_PAIR_GEN },
    kind: [{ type: CKA.MODULUS_BITS, value: 2048 }],
    sign: { mechanism: CKM.RSA_PKCS_PSS, parameter: pssSha256(DIGEST.byteLength) },
  },
  {
    name: 'Ed25519',
    generate: { mechanism: CKM.EC_EDWARDS_KEY_PAIR_GEN },
    kind: [
      { type: CKA.EC_PARAMS, value: ED25519 },
      { type: CKA.KEY_TYPE, value: CKK_EC_EDWARDS },
    ],
    sign: { mechanism: CKM.EDDSA },
  },
];

function makeSigner(token: Token, session: Handle, { generate, kind, sign }: Scheme): () => void {
  const type = kind.filter((attribute) => attribute.type === CKA.KEY_TYPE);
  const onToken = { type: CKA.TOKEN, value: true };
  const { privateKey } = token.C_GenerateKeyPair(
    session,
    generate,
    [...kind, onToken],
    [...type, onToken, { type: CKA.SIGN, value: true }, { type: CKA.SENSITIVE, value: true }],
  );
  const signature = Buffer.alloc(512);
  return () => {
    token.C_SignInit(session, sign, privateKey);
    token.C_Sign(session, DIGEST, signature);
  };
}

function measure(name: string, run: () => void, seconds: number): void {
  for (let turn = 0; turn < WARM_UP; turn += 1) run();
  const microseconds: number[] = [];
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    const start = performance.now();
    run();
    microseconds.push(1000 * (performance.now() - start));
  }
  microseconds.sort((a, b) => a - b);
  const at = (share: number): string =>
    (microseconds[Math.floor(share * (microseconds.length - 1))] ?? 0).toFixed(0);
  const perSecond = Math.round(microseconds.length / seconds).toLocaleString('en');
  process.stdout.write(
    `${name.padEnd(22)} ${perSecond.padStart(8)}/s  p50 ${at(0.5)} µs  p99 ${at(0.99)} µs\n`,
  );
}

async function main(): Promise<void> {
  const seconds = Number(process.argv[2] ?? DEFAULT_SECONDS);
  const directory = temporaryDirectory('bench');
  const socket = join(directory.path, 'socket');
  const world = await SecureWorld.start('--storage', join(directory.path, 's'), '--socket', socket);
  process.env['OTA_TEE_SOCKET'] = socket;
  try {
    const token = loadToken();
    const slot = firstSlot(token);
    prepareToken(token, slot);
    const session = openUserSession(token, slot);
    measure('one call', () => token.C_GetSessionInfo(session), seconds);
    for (const scheme of SCHEMES) {
      measure(scheme.name, makeSigner(token, session, scheme), seconds);
    }
    token.C_Finalize();
  } finally {
    await world.end();
    directory.remove();
  }
}

await main();
