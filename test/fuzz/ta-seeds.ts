/** Programs that succeed: each command at least once, and what a real client asked of a real TA. */
import { CKA } from '../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CMD } from '../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  initPinArguments,
  initTokenArguments,
  mechanism,
  P256,
  pinArguments,
  setPinArguments,
  SO_PIN,
  u32,
  USER_PIN,
  type TemplateValue,
} from '../unit/tee/pkcs11/ta-client.ts';
import { readTranscript } from '../unit/tee/transcript.ts';
import { handleOf, highestHandle, READ_ONLY, READ_WRITE } from './ta-fixture.ts';
import { recordedPrograms } from './ta-recorded.ts';
import { SHAPES, type Program, type Step } from './ta-program.ts';

const VECTORS = new URL('../vectors/optee/', import.meta.url);

export function* seedPrograms(): Iterable<Program> {
  yield* handMade();
  for (const file of ['quirks.jsonl.gz', 'p11.jsonl.gz']) {
    yield* recordedPrograms(readTranscript(new URL(file, VECTORS)));
  }
}

type Extras = Partial<Pick<Step, 'client' | 'input' | 'signature' | 'roomBytes' | 'types'>>;

function step(command: number, control: Uint8Array, extras: Extras = {}): Step {
  const { input, signature, roomBytes } = extras;
  const types =
    signature !== undefined
      ? input === undefined
        ? SHAPES.signature
        : SHAPES.inSignature
      : roomBytes === undefined
        ? input === undefined
          ? SHAPES.plain
          : SHAPES.in
        : input === undefined
          ? SHAPES.out
          : SHAPES.inOut;
  const nothing = new Uint8Array();
  return {
    client: 0,
    command,
    types,
    roomBytes: 0,
    control,
    ...extras,
    input: input ?? nothing,
    signature: signature ?? nothing,
  };
}

const S = READ_WRITE;
const BLOCK = Buffer.from('sixteen bytes...');
const program = (...steps: readonly Step[]): Program => ({ fixture: 1, failingWrite: 0, steps });
const idle = (...steps: readonly Step[]): Program => ({ ...program(...steps), fixture: 0 });
const joined = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat(parts);

function* handMade(): Iterable<Program> {
  // Each of them fails: there are no arguments.
  for (const types of Object.values(SHAPES)) {
    yield idle(
      ...Object.values(CMD).map((command) => ({ ...step(command, Buffer.alloc(0)), types })),
    );
  }
  yield* questions();
  yield* logins();
  yield* objects();
  yield* keys();
  yield* operations();
}

function* questions(): Iterable<Program> {
  yield program(
    step(CMD.PING, u32(0), { roomBytes: 12 }),
    step(CMD.SLOT_LIST, u32(5), { roomBytes: 12 }),
    step(CMD.SLOT_INFO, u32(0), { roomBytes: 104 }),
    step(CMD.TOKEN_INFO, u32(0), { roomBytes: 160 }),
    step(CMD.MECHANISM_IDS, u32(0), { roomBytes: 400 }),
    step(CMD.MECHANISM_INFO, u32(0, CKM.AES_GCM), { roomBytes: 12 }),
    step(CMD.SESSION_INFO, u32(S), { roomBytes: 16 }),
    step(CMD.SEED_RANDOM, u32(S), { input: BLOCK }),
    step(CMD.GENERATE_RANDOM, u32(S), { roomBytes: 16 }),
  );
}

function* logins(): Iterable<Program> {
  yield idle(
    step(CMD.OPEN_SESSION, u32(0, 6), { roomBytes: 4 }),
    step(CMD.OPEN_SESSION, u32(0, 6), { roomBytes: 4 }),
    step(CMD.LOGIN, pinArguments(1, 0, SO_PIN)),
    step(CMD.INIT_PIN, initPinArguments(1, USER_PIN)),
    step(CMD.SET_PIN, setPinArguments(1, SO_PIN, SO_PIN)),
    step(CMD.LOGOUT, u32(1)),
    step(CMD.LOGIN, pinArguments(2, 1, USER_PIN)),
    step(CMD.LOGIN, pinArguments(2, 1, 'wrong')),
    step(CMD.CLOSE_SESSION, u32(2)),
    step(CMD.CLOSE_ALL_SESSIONS, u32(0)),
    step(CMD.INIT_TOKEN, initTokenArguments(0, SO_PIN)),
    step(CMD.INIT_TOKEN, initTokenArguments(1, SO_PIN)),
    step(CMD.INIT_TOKEN, initTokenArguments(2, '')),
  );
}

function* objects(): Iterable<Program> {
  const data = attributes([CKA.CLASS, CKO.DATA], [CKA.VALUE, BLOCK], [CKA.LABEL, 'new']);
  const token = attributes([CKA.CLASS, CKO.DATA], [CKA.TOKEN, true], [CKA.PRIVATE, true]);
  const certificate = attributes(
    [CKA.CLASS, CKO.CERTIFICATE],
    [CKA.CERTIFICATE_TYPE, 0],
    [CKA.SUBJECT, BLOCK],
    [CKA.VALUE, BLOCK],
  );
  const key = handleOf('aes');
  const asked = attributes([CKA.CLASS, Buffer.alloc(4)], [CKA.LABEL, Buffer.alloc(32)]);
  for (const template of [data, token, certificate]) {
    yield program(
      step(CMD.CREATE_OBJECT, joined(u32(S), template), { roomBytes: 4 }),
      step(CMD.GET_OBJECT_SIZE, u32(S, key), { roomBytes: 4 }),
      step(CMD.GET_ATTRIBUTE_VALUE, joined(u32(S, key), asked), { roomBytes: 60 }),
      step(CMD.SET_ATTRIBUTE_VALUE, joined(u32(S, key), attributes([CKA.ID, BLOCK]))),
      step(CMD.COPY_OBJECT, joined(u32(READ_ONLY, key), attributes([CKA.TOKEN, false])), {
        roomBytes: 4,
      }),
      step(CMD.DESTROY_OBJECT, u32(S, key)),
      step(CMD.FIND_OBJECTS_INIT, joined(u32(S), attributes([CKA.CLASS, CKO.SECRET_KEY]))),
      step(CMD.FIND_OBJECTS, u32(S), { roomBytes: 40 }),
      step(CMD.FIND_OBJECTS_FINAL, u32(S)),
    );
  }
  yield program(
    ...['hidden generic', 'hidden aes', 'hidden ec', 'private data'].map((name) =>
      step(
        CMD.GET_ATTRIBUTE_VALUE,
        joined(u32(1, handleOf(name)), attributes([CKA.VALUE, Buffer.alloc(64)])),
        { roomBytes: 80, client: 1 },
      ),
    ),
  );
}

function* keys(): Iterable<Program> {
  const secret = (type: number, ...more: readonly (readonly [number, number | boolean])[]) =>
    attributes([CKA.CLASS, CKO.SECRET_KEY], [CKA.KEY_TYPE, type], ...more);
  const aes = handleOf('aes');
  yield program(
    step(
      CMD.GENERATE_KEY,
      joined(u32(S), mechanism(CKM.AES_KEY_GEN), secret(CKK.AES, [CKA.VALUE_LEN, 32])),
      { roomBytes: 4 },
    ),
    step(
      CMD.GENERATE_KEY_PAIR,
      joined(
        u32(S),
        mechanism(CKM.EC_KEY_PAIR_GEN),
        attributes([CKA.EC_PARAMS, P256], [CKA.VERIFY, true]),
        attributes([CKA.SIGN, true], [CKA.TOKEN, true]),
      ),
      { roomBytes: 8 },
    ),
    step(
      CMD.GENERATE_KEY_PAIR,
      joined(
        u32(S),
        mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
        attributes([CKA.MODULUS_BITS, 512], [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)]),
        attributes([CKA.SIGN, true]),
      ),
      { roomBytes: 8 },
    ),
    step(
      CMD.DERIVE_KEY,
      joined(
        u32(S, handleOf('deriving')),
        mechanism(CKM.AES_ECB_ENCRYPT_DATA, joined(u32(16), BLOCK)),
        secret(CKK.GENERIC_SECRET, [CKA.VALUE_LEN, 16]),
      ),
      { roomBytes: 4 },
    ),
  );
  const wrapping = mechanism(CKM.AES_ECB);
  yield program(
    step(CMD.WRAP_KEY, joined(u32(S, aes, handleOf('generic')), wrapping), { roomBytes: 64 }),
    step(
      CMD.UNWRAP_KEY,
      joined(u32(S, aes), wrapping, secret(CKK.GENERIC_SECRET, [CKA.VALUE_LEN, 32])),
      { roomBytes: 4, input: 'last output' },
    ),
    step(CMD.WRAP_KEY, joined(u32(S, aes, handleOf('hidden generic')), wrapping), {
      roomBytes: 64,
    }),
    step(CMD.WRAP_KEY, joined(u32(S, handleOf('rsa public'), aes), mechanism(CKM.RSA_PKCS)), {
      roomBytes: 128,
    }),
  );
  yield program(...imported());
}

/** Keys whose numbers a client brings. */
function* imported(): Iterable<Step> {
  const number = (bytes: number, fill: number): Buffer => Buffer.alloc(bytes, fill);
  const create = (...entries: readonly (readonly [number, TemplateValue])[]): Step =>
    step(CMD.CREATE_OBJECT, joined(u32(S), attributes(...entries)), { roomBytes: 4 });
  yield create(
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.KEY_TYPE, CKK.RSA],
    [CKA.SIGN, true],
    [CKA.MODULUS, number(64, 0xc7)],
    [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)],
    [CKA.PRIVATE_EXPONENT, number(64, 0x35)],
    [CKA.PRIME_1, number(32, 0xdb)],
    [CKA.PRIME_2, number(32, 0xe3)],
  );
  yield step(CMD.SIGN_INIT, joined(u32(S, highestHandle() + 1), mechanism(CKM.RSA_PKCS)));
  yield create(
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.KEY_TYPE, CKK.RSA],
    [CKA.SIGN, true],
    [CKA.MODULUS, number(64, 0xc7)],
    [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)],
    [CKA.PRIVATE_EXPONENT, number(64, 0x35)],
    [CKA.PRIME_1, number(64, 0xc7)],
  );
  yield step(CMD.SIGN_INIT, joined(u32(S, highestHandle() + 2), mechanism(CKM.RSA_PKCS)));
  yield create(
    [CKA.CLASS, CKO.PUBLIC_KEY],
    [CKA.KEY_TYPE, CKK.EC],
    [CKA.VERIFY, true],
    [CKA.EC_PARAMS, P256],
    [CKA.EC_POINT, Buffer.concat([Buffer.of(4, 65, 4), number(64, 1)])],
  );
}

function* operations(): Iterable<Program> {
  const aes = handleOf('aes');
  const digest = mechanism(CKM.SHA256);
  yield program(
    step(CMD.DIGEST_INIT, joined(u32(S), digest)),
    step(CMD.DIGEST_UPDATE, u32(S), { input: BLOCK }),
    step(CMD.DIGEST_KEY, u32(S, handleOf('generic'))),
    step(CMD.DIGEST_FINAL, u32(S), { roomBytes: 32 }),
    step(CMD.DIGEST_INIT, joined(u32(S), digest)),
    step(CMD.RELEASE_ACTIVE_PROCESSING, u32(S, CMD.DIGEST_UPDATE)),
    step(CMD.DIGEST_INIT, joined(u32(S), digest)),
    step(CMD.DIGEST_ONESHOT, u32(S), { input: BLOCK, roomBytes: 32 }),
  );
  yield* ciphers(aes, mechanism(CKM.AES_CBC, BLOCK));
  yield* ciphers(aes, mechanism(CKM.AES_CTR, joined(u32(1), BLOCK)));
  yield* ciphers(aes, mechanism(CKM.AES_CTS, BLOCK));
  yield* ciphers(
    aes,
    mechanism(CKM.AES_GCM, joined(u32(12), BLOCK.subarray(0, 12), u32(4), u32(1), u32(96))),
  );
  const [mac, generic] = [handleOf('hmac'), handleOf('generic')];
  yield* signing(mac, mac, mechanism(CKM.SHA256_HMAC));
  yield* signing(generic, generic, mechanism(CKM.SHA_1_HMAC_GENERAL, u32(7)));
  yield* signing(aes, aes, mechanism(CKM.AES_CMAC));
  const [ec, rsa, edwards] = ['ec', 'rsa', 'edwards'].map((name) => ({
    private: handleOf(`${name} private`),
    public: handleOf(`${name} public`),
  }));
  if (ec === undefined || rsa === undefined || edwards === undefined) return;
  yield* signing(ec.private, ec.public, mechanism(CKM.ECDSA_SHA256));
  yield* signing(
    edwards.private,
    edwards.public,
    mechanism(CKM.EDDSA, u32(0, 2, 0x4142).subarray(0, 10)),
  );
  yield* signing(rsa.private, rsa.public, mechanism(CKM.SHA256_RSA_PKCS));
  const pss = mechanism(CKM.SHA256_RSA_PKCS_PSS, u32(CKM.SHA256, 2, 32));
  yield* signing(rsa.private, rsa.public, pss);
  const oaep = mechanism(CKM.RSA_PKCS_OAEP, u32(CKM.SHA_1, 1, 1, 0));
  for (const padding of [oaep, mechanism(CKM.RSA_PKCS)]) {
    yield program(
      step(CMD.ENCRYPT_INIT, joined(u32(S, rsa.public), padding)),
      step(CMD.ENCRYPT_ONESHOT, u32(S), { input: BLOCK, roomBytes: 128 }),
      step(CMD.DECRYPT_INIT, joined(u32(S, rsa.private), padding)),
      step(CMD.DECRYPT_ONESHOT, u32(S), { input: 'last output', roomBytes: 128 }),
    );
  }
}

function* ciphers(key: number, how: Uint8Array): Iterable<Program> {
  const start = (command: number): Step => step(command, joined(u32(S, key), how));
  const roomBytes = 64;
  yield program(
    start(CMD.ENCRYPT_INIT),
    step(CMD.ENCRYPT_ONESHOT, u32(S), { input: joined(BLOCK, BLOCK), roomBytes }),
    start(CMD.DECRYPT_INIT),
    step(CMD.DECRYPT_ONESHOT, u32(S), { input: 'last output', roomBytes }),
  );
  yield program(
    start(CMD.ENCRYPT_INIT),
    step(CMD.ENCRYPT_UPDATE, u32(S), { input: joined(BLOCK, BLOCK), roomBytes }),
    step(CMD.ENCRYPT_FINAL, u32(S), { roomBytes }),
    start(CMD.DECRYPT_INIT),
    step(CMD.DECRYPT_UPDATE, u32(S), { input: joined(BLOCK, BLOCK), roomBytes }),
    step(CMD.DECRYPT_FINAL, u32(S), { roomBytes }),
  );
}

function* signing(privateKey: number, publicKey: number, how: Uint8Array): Iterable<Program> {
  const roomBytes = 128;
  const startSigning = step(CMD.SIGN_INIT, joined(u32(S, privateKey), how));
  const startVerifying = step(CMD.VERIFY_INIT, joined(u32(S, publicKey), how));
  yield program(
    startSigning,
    step(CMD.SIGN_ONESHOT, u32(S), { input: BLOCK, roomBytes }),
    startVerifying,
    step(CMD.VERIFY_ONESHOT, u32(S), { input: BLOCK, signature: 'last output' }),
  );
  yield program(
    startSigning,
    step(CMD.SIGN_UPDATE, u32(S), { input: BLOCK }),
    step(CMD.SIGN_FINAL, u32(S), { roomBytes }),
    startVerifying,
    step(CMD.VERIFY_UPDATE, u32(S), { input: BLOCK }),
    step(CMD.VERIFY_FINAL, u32(S), { signature: 'last output' }),
  );
}
