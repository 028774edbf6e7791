/** Workloads for a PKCS#11 module through graphene-pk11: what an application in Node does with it. */
import graphene from 'graphene-pk11';

const SO_PIN = '12345678';
const USER_PIN = '87654321';
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
const DIGEST = Buffer.from('a digest is as good as any other');
const PAGE = Buffer.alloc(4096);
const { MechanismEnum, ObjectClass, KeyType, SessionFlag, TokenFlag, UserType } = graphene;

/** A logged-in session with a token, and the keys that the workloads use. */
export class GrapheneToken {
  readonly session: graphene.Session;
  readonly ecSessionKey: graphene.Key;
  readonly ecTokenKey: graphene.Key;
  readonly rsaKey: graphene.Key;
  readonly aesKey: graphene.Key;
  readonly #module: graphene.Module;
  readonly #mechanisms: ReadonlySet<number>;
  #made: readonly graphene.SessionObject[] = [];

  constructor(module: graphene.Module, session: graphene.Session) {
    this.#module = module;
    this.session = session;
    const mechanisms = session.slot.getMechanisms();
    this.#mechanisms = new Set(Array.from(mechanisms, ({ type }) => type));
    this.ecSessionKey = this.makePair(EC_PAIR, false).privateKey;
    this.ecTokenKey = this.makePair(EC_PAIR, true).privateKey;
    this.rsaKey = this.makePair(RSA_PAIR, true).privateKey;
    this.aesKey = session.generateKey(MechanismEnum.AES_KEY_GEN, { valueLen: 32, encrypt: true });
    this.#made = [];
  }

  serves(mechanism: number): boolean {
    return this.#mechanisms.has(mechanism);
  }

  sign(mechanism: graphene.MechanismType, key: graphene.Key): void {
    this.session.createSign(mechanism, key).once(DIGEST);
  }

  makePair({ mechanism, kind }: Pair, isOnToken: boolean): graphene.IKeyPair {
    const pair = this.session.generateKeyPair(
      mechanism,
      { ...kind, token: isOnToken, private: false, verify: true },
      { token: isOnToken, private: true, sensitive: true, sign: true },
    );
    this.#made = [pair.publicKey, pair.privateKey];
    return pair;
  }

  destroyMade(): void {
    for (const object of this.#made) object.destroy();
    this.#made = [];
  }

  close(): void {
    this.#module.finalize();
  }
}

interface Pair {
  readonly mechanism: number;
  readonly kind: graphene.ITemplate;
}

const EC_PAIR: Pair = { mechanism: MechanismEnum.EC_KEY_PAIR_GEN, kind: { paramsEC: P256 } };
const RSA_PAIR: Pair = {
  mechanism: MechanismEnum.RSA_PKCS_KEY_PAIR_GEN,
  kind: { modulusBits: 2048 },
};

export interface GrapheneWorkload {
  readonly isServed: (token: GrapheneToken) => boolean;
  readonly run: (token: GrapheneToken) => void;
}

const PSS = {
  name: 'RSA_PKCS_PSS',
  params: new graphene.RsaPssParams(MechanismEnum.SHA256, graphene.RsaMgf.MGF1_SHA256, 32),
};
const GCM = { name: 'AES_GCM', params: new graphene.AesGcm240Params(Buffer.alloc(12)) };

/** By the names that token-bench.c gives the same from C. */
export const GRAPHENE_WORKLOADS: ReadonlyMap<string, GrapheneWorkload> = new Map([
  workload('ECDSA P-256, session key', MechanismEnum.ECDSA, (token) => {
    token.sign('ECDSA', token.ecSessionKey);
  }),
  workload('ECDSA P-256, token key', MechanismEnum.ECDSA, (token) => {
    token.sign('ECDSA', token.ecTokenKey);
  }),
  workload('ECDSA_SHA256 P-256', MechanismEnum.ECDSA_SHA256, (token) => {
    token.sign('ECDSA_SHA256', token.ecTokenKey);
  }),
  workload('RSA-2048 PKCS#1', MechanismEnum.RSA_PKCS, (token) => {
    token.sign('RSA_PKCS', token.rsaKey);
  }),
  workload('RSA-2048 PSS', MechanismEnum.RSA_PKCS_PSS, (token) => {
    token.sign(PSS, token.rsaKey);
  }),
  workload('AES-256-GCM, 4 KiB', MechanismEnum.AES_GCM, ({ session, aesKey }) => {
    session.createCipher(GCM, aesKey).once(PAGE, Buffer.alloc(PAGE.byteLength + 16));
  }),
  workload('find one object', MechanismEnum.RSA_PKCS, ({ session }) => {
    const wanted = { class: ObjectClass.PRIVATE_KEY, keyType: KeyType.RSA };
    if (session.find(wanted).length !== 1) throw new Error('there is one RSA key');
  }),
  workload('EC pair, session objects', MechanismEnum.EC_KEY_PAIR_GEN, (token) => {
    token.makePair(EC_PAIR, false);
  }),
  workload('EC pair, token objects', MechanismEnum.EC_KEY_PAIR_GEN, (token) => {
    token.makePair(EC_PAIR, true);
  }),
  workload('RSA-2048 pair, session objects', MechanismEnum.RSA_PKCS_KEY_PAIR_GEN, (token) => {
    token.makePair(RSA_PAIR, false);
  }),
]);

function workload(
  name: string,
  mechanism: number,
  run: (token: GrapheneToken) => void,
): readonly [string, GrapheneWorkload] {
  return [name, { isServed: (token) => token.serves(mechanism), run }];
}

/** Loads a module whose first slot has a blank token, and gives that both PINs. */
export function openGraphene(path: string): GrapheneToken {
  const module = graphene.Module.load(path);
  module.initialize();
  const blank = module.getSlots(0, true);
  // graphene's own initToken fails after the call: it wants a label back, and there is none.
  blank.lib.C_InitToken(blank.handle, SO_PIN, 'bench'.padEnd(32));
  // SoftHSM2 gives a token that was initialized another slot.
  const slots = Array.from({ length: module.getSlots(true).length }, (_, index) =>
    module.getSlots(index, true),
  );
  const slot = slots.find((each) => (each.getToken().flags & TokenFlag.TOKEN_INITIALIZED) !== 0);
  if (slot === undefined) throw new Error(`${path} has lost its token`);
  const session = slot.open(SessionFlag.RW_SESSION | SessionFlag.SERIAL_SESSION);
  session.login(SO_PIN, UserType.SO);
  session.initPin(USER_PIN);
  session.logout();
  session.login(USER_PIN, UserType.USER);
  return new GrapheneToken(module, session);
}
