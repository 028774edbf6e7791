/** What the token contract does, each in a process of its own. Values go back as JSON. */
import graphene from 'graphene-pk11';

import { isOtaError } from '../../agent/errors.ts';
import { readCertificates, storeCertificate } from '../../agent/io/token/certificate.ts';
import { CKO, UPTANE_KEY, type ObjectName } from '../../agent/io/token/cryptoki.ts';
import { initialiseToken, initialiseUserPin } from '../../agent/io/token/initialise.ts';
import { checkKeyAttributes } from '../../agent/io/token/key-attributes.ts';
import {
  reviewKeyTypes,
  supportedKeyTypes,
  type WantedKeyTypes,
} from '../../agent/io/token/key-review.ts';
import type { KeyType, Scheme } from '../../agent/io/token/key-types.ts';
import { destroyKey, generateKey, inspectKey } from '../../agent/io/token/keys.ts';
import { openModule } from '../../agent/io/token/module.ts';
import { signInToken } from '../../agent/io/token/sign.ts';
import { openToken, type TokenSettings } from '../../agent/io/token/token.ts';
import { openSigner } from '../../agent/io/token/uptane-key.ts';
import { startTee } from '../support/tee.ts';
import { LABEL, SO_PIN, USER_PIN } from '../support/token-world.ts';

const { TOKEN_INITIALIZED } = graphene.TokenFlag;
const { SERIAL_SESSION, RW_SESSION } = graphene.SessionFlag;

interface Args {
  readonly settings: TokenSettings;
}

const PSS = 'rsassa-pss-sha256';
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');

const spki = (key: { export(options: object): unknown }): string =>
  String(key.export({ type: 'spki', format: 'pem' }));

/** Twice: what the second call finds is as much the contract as what the first one does. */
export function initialise({ settings }: Args): string[] {
  const once = (): string[] => [
    initialiseToken(settings, process.env),
    initialiseUserPin(settings, process.env),
  ];
  return [...once(), ...once()];
}

export function initialiseWithoutUserPin({ settings }: Args): string {
  return initialiseToken(settings, process.env);
}

export function open({ settings }: Args): unknown {
  const token = openToken(settings, 'read-only', process.env);
  const { name } = token;
  token.close();
  return name;
}

/** The secure world starts after us: what was said of its absence must not be remembered. */
export async function openWhenItIsUp({
  settings,
  directory,
}: Args & { directory: string }): Promise<unknown[]> {
  const attempt = (): unknown => {
    try {
      return open({ settings });
    } catch (error) {
      return isOtaError(error) ? error.code : messageOf(error);
    }
  };
  const before = attempt();
  const tee = await startTee(directory);
  const after = attempt();
  await tee.stop();
  return [before, after];
}

/** How often the same PIN file is tried before the process ends. */
export function openOften({ settings, times }: Args & { times: number }): string[] {
  return Array.from({ length: times }, () => {
    try {
      openToken(settings, 'read-only', process.env);
      return 'open';
    } catch (error) {
      return messageOf(error);
    }
  });
}

/** How many sessions the token counts, with one that is opened last. */
export function sessionsAfter({ settings, times }: Args & { times: number }): number {
  openOften({ settings, times });
  return rawSession(settings).slot.getToken().sessionCount;
}

/** Wrong PINs behind the agent's back, as somebody with pkcs11-tool would try them. */
export function tryPins({ settings, pins }: Args & { pins: string[] }): string[] {
  const session = rawSession(settings);
  return pins.map((pin) => {
    try {
      session.login(pin);
      session.logout();
      return 'CKR_OK';
    } catch (error) {
      return messageOf(error);
    }
  });
}

export function generate({ settings, type }: Args & { type: KeyType }): unknown {
  const token = openToken(settings, 'read-write', process.env);
  const before = inspectKey(token, UPTANE_KEY).is;
  const made = generateKey(token, UPTANE_KEY, type);
  const found = inspectKey(token, UPTANE_KEY);
  checkKeyAttributes(token, UPTANE_KEY);
  const key = found.is === 'whole' ? found.key : undefined;
  return {
    before,
    found: found.is,
    type: key?.type,
    same: key?.publicKey.equals(made.publicKey),
    publicKey: spki(made.publicKey),
  };
}

/** A token that is ready, with one key in it. */
export function prepare(args: Args & { type: KeyType }): unknown {
  initialise(args);
  return generate(args);
}

export function sign(args: Args & { scheme: Scheme; payload: string }): unknown {
  const token = openToken(args.settings, 'read-only', process.env);
  return signInToken(token, UPTANE_KEY, args.scheme, Buffer.from(args.payload)).toString('base64');
}

export async function signer({ settings, payload }: Args & { payload: string }): Promise<unknown> {
  const opened = openSigner(openToken(settings, 'read-only', process.env));
  const { keyId, method } = opened;
  return { keyId, method, signature: await opened.sign(Buffer.from(payload)) };
}

/** Every way in which libp11 or a restarted secure world can end what we hold. */
export function signAfterLoss({ settings }: Args): unknown {
  const token = openToken(settings, 'read-only', process.env);
  const signOnce = (): number => signInToken(token, UPTANE_KEY, PSS, Buffer.from('x')).length;
  const lengths = [signOnce()];
  const raw = rawSession(settings);
  raw.lib.C_CloseAllSessions(raw.slot.handle);
  lengths.push(signOnce());
  const other = rawSession(settings);
  other.logout();
  lengths.push(signOnce());
  return lengths;
}

/** Asks for the secret part of a key by the number of its attribute. */
export function readSecret({ settings, attribute }: Args & { attribute: number }): string {
  const token = openToken(settings, 'read-only', process.env);
  return token.run('read', (session) => {
    const found = session.find({ class: CKO.PRIVATE_KEY, label: UPTANE_KEY.label });
    try {
      return `leaked ${found.items(0).getAttribute(attribute).toString('hex')}`;
    } catch (error) {
      return messageOf(error);
    }
  });
}

/** A key pair that was made in the token, but may leave it; a token need not make one. */
export function makeExtractableKey({ settings }: Args): string {
  try {
    withRawUser(settings, (session) => {
      const common = { token: true, label: UPTANE_KEY.label, id: Buffer.from([3]), keyType: 3 };
      session.generateKeyPair(
        graphene.KeyGenMechanism.EC,
        { ...common, verify: true, paramsEC: P256 },
        { ...common, private: true, sensitive: true, extractable: true, sign: true },
      );
    });
    return 'made';
  } catch (error) {
    return messageOf(error);
  }
}

/** A key that was made elsewhere: the aktualizr way. */
export function importKey({ settings, d, point }: Args & { d: string; point: string }): void {
  withRawUser(settings, (session) => {
    const common = {
      token: true,
      label: UPTANE_KEY.label,
      id: Buffer.from([3]),
      keyType: 3,
      paramsEC: P256,
    };
    const pointEC = Buffer.from(point, 'hex');
    session.create({ class: CKO.PUBLIC_KEY, ...common, verify: true, pointEC });
    session.create({
      class: CKO.PRIVATE_KEY,
      ...common,
      private: true,
      sensitive: true,
      extractable: false,
      sign: true,
      value: Buffer.from(d, 'hex'),
    });
  });
}

export function checkAttributes({
  settings,
  allowImported,
}: Args & { allowImported?: boolean }): unknown {
  return checkKeyAttributes(
    openToken(settings, 'read-only', process.env),
    UPTANE_KEY,
    allowImported,
  );
}

export function review({ settings, wanted }: Args & { wanted?: WantedKeyTypes }): unknown {
  const token = openToken(settings, 'read-only', process.env);
  if (wanted !== undefined) reviewKeyTypes(token, wanted);
  return { tls: supportedKeyTypes(token, 'tls'), uptane: supportedKeyTypes(token, 'uptane') };
}

/** One of a pair lost, and then both. */
export function destroyByHalves({ settings }: Args): string[] {
  const token = openToken(settings, 'read-write', process.env);
  const states = [inspectKey(token, UPTANE_KEY).is];
  withRawUser(settings, (session) =>
    session.destroy({ class: CKO.PUBLIC_KEY, label: UPTANE_KEY.label }),
  );
  states.push(inspectKey(token, UPTANE_KEY).is);
  destroyKey(token, UPTANE_KEY);
  states.push(inspectKey(token, UPTANE_KEY).is);
  return states;
}

const FIRST: ObjectName = { label: 'first', id: 0x21 };
const LATER: ObjectName = { label: 'later', id: 0x22 };

/** The first object of a token goes, and then there is a new one: as when a process rotates twice. */
export function replaceFirst({ settings }: Args): void {
  const token = openToken(settings, 'read-write', process.env);
  for (const name of [FIRST, UPTANE_KEY]) generateKey(token, name, 'ec-p256');
  destroyKey(token, FIRST);
  try {
    generateKey(token, LATER, 'ec-p256');
  } finally {
    destroyKey(token, LATER);
  }
}

export function destroyLater({ settings }: Args): string[] {
  const token = openToken(settings, 'read-write', process.env);
  destroyKey(token, LATER);
  return [FIRST, UPTANE_KEY, LATER].map((name) => inspectKey(token, name).is);
}

export function chooseUnknownMechanism({ settings }: Args): number {
  return openToken(settings, 'read-only', process.env).chooseMechanism(0x7fff_fff1);
}

interface Stored extends Args {
  readonly certificates: readonly Record<'der' | 'subject' | 'issuer' | 'serialNumber', string>[];
}

/** Stores one after the other, and says what is there after each. */
export function storeCertificates({ settings, certificates }: Stored): string[][] {
  const token = openToken(settings, 'read-write', process.env);
  return certificates.map((hex) => {
    storeCertificate(token, {
      der: Buffer.from(hex.der, 'hex'),
      subject: Buffer.from(hex.subject, 'hex'),
      issuer: Buffer.from(hex.issuer, 'hex'),
      serialNumber: Buffer.from(hex.serialNumber, 'hex'),
    });
    return readCertificates(token).map((der) => der.toString('hex'));
  });
}

/** One more token: nothing forbids that it has the label of another. */
export function initialiseTwin({ settings, label }: Args & { label: string }): void {
  const blank = slots(settings).find(({ flags }) => (flags & TOKEN_INITIALIZED) === 0);
  const pin = settings.login === 'pin' ? SO_PIN : '';
  blank?.slot.lib.C_InitToken(blank.slot.handle, pin, label.padEnd(32));
}

function slots(settings: TokenSettings): { slot: graphene.Slot; label: string; flags: number }[] {
  const all = openModule(settings).getSlots(true);
  return Array.from({ length: all.length }, (_, index) => {
    const slot = all.items(index);
    const { label, flags } = slot.getToken();
    return { slot, label, flags };
  });
}

/** A session of somebody else in the same process. */
function rawSession(settings: TokenSettings): graphene.Session {
  const found = slots(settings).find(({ label }) => label === LABEL);
  if (found === undefined) throw new Error('no token with our label');
  return found.slot.open(SERIAL_SESSION | RW_SESSION);
}

function withRawUser(settings: TokenSettings, act: (session: graphene.Session) => void): void {
  const session = rawSession(settings);
  try {
    session.login(USER_PIN);
  } catch (error) {
    if (messageOf(error) !== 'CKR_USER_ALREADY_LOGGED_IN') throw error;
  }
  act(session);
  session.close();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
