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

import pkcs11 from 'pkcs11js';

import { SecureWorld } from '../integration/tee-secure-world-process.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const LIBRARY = join(import.meta.dirname, '../tee/build/libtee-cryptoki.so');
const DEFAULT_SECONDS = 2;
const WARM_UP = 50;
const SO_PIN = '12345678';
const USER_PIN = '1234';
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
const ED25519 = Buffer.from('130c656477617264733235353139', 'hex');
const CKK_EC_EDWARDS = 0x40;
const CKM_EC_EDWARDS_KEY_PAIR_GEN = 0x1055;
const CKM_EDDSA = 0x1057;
const DIGEST = createHash('sha256').update('digest').digest();

interface Scheme {
  readonly name: string;
  readonly generate: pkcs11.Mechanism;
  readonly kind: pkcs11.Template;
  readonly sign: pkcs11.Mechanism;
}

const PSS: pkcs11.RsaPSS = {
  type: pkcs11.CK_PARAMS_RSA_PSS,
  hashAlg: pkcs11.CKM_SHA256,
  mgf: pkcs11.CKG_MGF1_SHA256,
  saltLen: 32,
};

const SCHEMES: readonly Scheme[] = [
  {
    name: 'ECDSA P-256, digest',
    generate: { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
    kind: [{ type: pkcs11.CKA_EC_PARAMS, value: P256 }],
    sign: { mechanism: pkcs11.CKM_ECDSA },
  },
  {
    name: 'ECDSA P-256, SHA-256',
    generate: { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN },
    kind: [{ type: pkcs11.CKA_EC_PARAMS, value: P256 }],
    sign: { mechanism: pkcs11.CKM_ECDSA_SHA256 },
  },
  {
    name: 'RSA-2048 PSS, digest',
    generate: { mechanism: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN },
    kind: [{ type: pkcs11.CKA_MODULUS_BITS, value: 2048 }],
    sign: {
      mechanism: pkcs11.CKM_RSA_PKCS_PSS,
      parameter: PSS,
    },
  },
  {
    name: 'Ed25519',
    generate: { mechanism: CKM_EC_EDWARDS_KEY_PAIR_GEN },
    kind: [
      { type: pkcs11.CKA_EC_PARAMS, value: ED25519 },
      { type: pkcs11.CKA_KEY_TYPE, value: CKK_EC_EDWARDS },
    ],
    sign: { mechanism: CKM_EDDSA },
  },
];

function openUserSession(token: pkcs11.PKCS11): pkcs11.Handle {
  const slot = token.C_GetSlotList(true)[0];
  if (slot === undefined) throw new Error('the emulator has no slot');
  token.C_InitToken(slot, SO_PIN, 'bench');
  const flags = pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION;
  const session = token.C_OpenSession(slot, flags);
  token.C_Login(session, pkcs11.CKU_SO, SO_PIN);
  token.C_InitPIN(session, USER_PIN);
  token.C_Logout(session);
  token.C_Login(session, pkcs11.CKU_USER, USER_PIN);
  return session;
}

function makeSigner(
  token: pkcs11.PKCS11,
  session: pkcs11.Handle,
  { generate, kind, sign }: Scheme,
): () => void {
  const type = kind.filter((attribute) => attribute.type === pkcs11.CKA_KEY_TYPE);
  const { privateKey } = token.C_GenerateKeyPair(
    session,
    generate,
    [...kind, { type: pkcs11.CKA_TOKEN, value: true }],
    [
      ...type,
      { type: pkcs11.CKA_TOKEN, value: true },
      { type: pkcs11.CKA_SIGN, value: true },
      { type: pkcs11.CKA_SENSITIVE, value: true },
    ],
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
  const token = new pkcs11.PKCS11();
  try {
    token.load(LIBRARY);
    token.C_Initialize();
    const session = openUserSession(token);
    measure('a call (GetSessionInfo)', () => token.C_GetSessionInfo(session), seconds);
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
