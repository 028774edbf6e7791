/**
 * Two clients of one PKCS#11 TA, made anew for every input from a storage that was made once.
 *
 * Client 0 has the user logged in, client 1 nobody. What client 0 hides carries marks that nobody's
 * output may ever show.
 */
import { CKA } from '../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CMD } from '../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  ED25519,
  P256,
  pinArguments,
  TestTee,
  u32,
  USER_PIN,
  type TaClient,
  type TemplateValue,
} from '../unit/tee/pkcs11/ta-client.ts';
import { ForkedStorage, type Snapshot } from './forked-storage.ts';
import type { Fixture } from './ta-program.ts';

/** The values of sensitive keys that may not leave, not even wrapped. */
export const SECRET = Buffer.from(
  '5ec2e75ec2e75ec2e75ec2e75ec2e75e11223344556677889900aabbccddeeff',
  'hex',
);
/** In a private token object: for the user alone. */
export const PRIVATE_MARK = Buffer.from('a private object of the token');
/** In a session object: for client 0 alone. */
export const SESSION_MARK = Buffer.from('an object of a session');

/** Sessions of client 0 on the busy fixture. */
export const READ_WRITE = 1;
export const READ_ONLY = 2;

type Entry = readonly [number, TemplateValue];

const USES: readonly Entry[] = [
  CKA.ENCRYPT,
  CKA.DECRYPT,
  CKA.SIGN,
  CKA.VERIFY,
  CKA.WRAP,
  CKA.UNWRAP,
  CKA.DERIVE,
].map((id) => [id, true] as const);
const PUBLIC_USES: readonly Entry[] = [CKA.ENCRYPT, CKA.VERIFY, CKA.WRAP].map(
  (id) => [id, true] as const,
);
const PRIVATE_USES: readonly Entry[] = [CKA.DECRYPT, CKA.SIGN, CKA.UNWRAP, CKA.DERIVE].map(
  (id) => [id, true] as const,
);
const TOKEN: Entry = [CKA.TOKEN, true];
const HIDDEN: readonly Entry[] = [
  TOKEN,
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, false],
];
const label = (name: string): Entry => [CKA.LABEL, name];

interface Made {
  readonly snapshot: Snapshot;
  /** Handles of client 0, by label. */
  readonly handles: ReadonlyMap<string, number>;
}

const IDLE = idleToken();
const BUSY = busyToken();

export interface Clients {
  readonly tee: TestTee;
  readonly storage: ForkedStorage;
  readonly clients: readonly [TaClient, TaClient];
}

export function startClients(fixture: Fixture): Clients {
  const storage = new ForkedStorage((fixture === 0 ? IDLE : BUSY).snapshot);
  const [tee, ...clients] = connect(storage, fixture);
  return { tee, storage, clients };
}

/** @throws RangeError for a label that no object of the busy fixture has */
export function handleOf(name: string): number {
  const handle = BUSY.handles.get(name);
  if (handle === undefined) throw new RangeError(`no object ${name}`);
  return handle;
}

export function highestHandle(): number {
  return Math.max(...BUSY.handles.values()) + 1;
}

function connect(storage: ForkedStorage, fixture: Fixture): [TestTee, TaClient, TaClient] {
  const tee = new TestTee(storage);
  const [first, second] = [tee.connect(), tee.connect()];
  if (fixture === 0) return [tee, first, second];
  const session = first.openSession();
  first.openSession(0, 'read-only');
  first.ok(CMD.LOGIN, pinArguments(session, 1, USER_PIN));
  first.find(session, attributes());
  first.create(
    session,
    attributes(
      [CKA.CLASS, CKO.DATA],
      [CKA.PRIVATE, true],
      [CKA.VALUE, SESSION_MARK],
      [CKA.COPYABLE, false],
      [CKA.MODIFIABLE, false],
    ),
  );
  second.find(second.openSession(), attributes());
  return [tee, first, second];
}

function idleToken(): Made {
  const storage = new ForkedStorage();
  new TestTee(storage).connect().prepareToken();
  return { snapshot: storage.snapshot(), handles: new Map() };
}

function busyToken(): Made {
  const storage = new ForkedStorage();
  const { client, session } = new TestTee(storage).connectUser();
  makePairs(client, session);
  makeSecrets(client, session);
  makeHidden(client, session);
  const made = storage.snapshot();
  return { snapshot: made, handles: handlesOn(made) };
}

function makePairs(client: TaClient, session: number): void {
  const pair = (name: string, mechanism: number, own: readonly Entry[], type: readonly Entry[]) => {
    client.generatePair(
      session,
      mechanism,
      attributes(TOKEN, label(`${name} public`), ...type, ...own, ...PUBLIC_USES),
      attributes(TOKEN, label(`${name} private`), ...type, ...PRIVATE_USES),
    );
  };
  pair('rsa', CKM.RSA_PKCS_KEY_PAIR_GEN, [[CKA.MODULUS_BITS, 1024]], []);
  pair('ec', CKM.EC_KEY_PAIR_GEN, [[CKA.EC_PARAMS, P256]], []);
  const edwards: Entry = [CKA.KEY_TYPE, CKK.EC_EDWARDS];
  pair('edwards', CKM.EC_EDWARDS_KEY_PAIR_GEN, [[CKA.EC_PARAMS, ED25519]], [edwards]);
}

function makeSecrets(client: TaClient, session: number): void {
  const secret = (name: string, type: number, fill: number, uses = USES): void => {
    client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, type],
        TOKEN,
        label(name),
        ...uses,
        [CKA.EXTRACTABLE, true],
        [CKA.VALUE, Buffer.alloc(32, fill)],
      ),
    );
  };
  secret('aes', CKK.AES, 3);
  secret('hmac', CKK.SHA256_HMAC, 4);
  secret('generic', CKK.GENERIC_SECRET, 5);
  secret('deriving', CKK.AES, 6, [[CKA.DERIVE, true]]);
  client.create(session, attributes([CKA.CLASS, CKO.DATA], TOKEN, label('data')));
}

function makeHidden(client: TaClient, session: number): void {
  const hidden = (name: string, ...entries: readonly Entry[]): void => {
    client.create(session, attributes(...entries, ...HIDDEN, label(name), ...USES));
  };
  const [objectClass, type] = [CKA.CLASS, CKA.KEY_TYPE];
  const value: Entry = [CKA.VALUE, SECRET];
  hidden('hidden generic', [objectClass, CKO.SECRET_KEY], [type, CKK.GENERIC_SECRET], value);
  hidden('hidden aes', [objectClass, CKO.SECRET_KEY], [type, CKK.AES], value);
  client.create(
    session,
    attributes(
      [objectClass, CKO.PRIVATE_KEY],
      [type, CKK.EC],
      ...HIDDEN,
      label('hidden ec'),
      ...PRIVATE_USES,
      [CKA.EC_PARAMS, P256],
      [CKA.EC_POINT, Buffer.concat([Buffer.of(4, 65, 4), Buffer.alloc(64, 1)])],
      value,
    ),
  );
  client.create(
    session,
    attributes([objectClass, CKO.DATA], TOKEN, [CKA.PRIVATE, true], label('private data'), [
      CKA.VALUE,
      PRIVATE_MARK,
    ]),
  );
}

function handlesOn(snapshot: Snapshot): ReadonlyMap<string, number> {
  const client = new TestTee(new ForkedStorage(snapshot)).connect();
  const session = client.openSession();
  client.ok(CMD.LOGIN, pinArguments(session, 1, USER_PIN));
  const found = client.find(session, attributes());
  return new Map(
    found.map((handle) => [
      client.attribute(session, handle, CKA.LABEL)?.toString() ?? u32(handle).toString('hex'),
      handle,
    ]),
  );
}
