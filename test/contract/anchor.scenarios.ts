/** What the anchor contract does, each in a process of its own. Values go back as JSON. */
import graphene from 'graphene-pk11';

import { isOtaError } from '../../agent/errors.ts';
import { protectionOf, TokenAnchor } from '../../agent/io/token/anchor.ts';
import { UPTANE_KEY } from '../../agent/io/token/cryptoki.ts';
import { initialiseToken, initialiseUserPin } from '../../agent/io/token/initialise.ts';
import { generateKey } from '../../agent/io/token/keys.ts';
import { openModule } from '../../agent/io/token/module.ts';
import { openToken, type TokenSettings } from '../../agent/io/token/token.ts';
import { destroyUnfinished } from '../../agent/io/token/unfinished.ts';
import { LABEL } from '../support/token-world.ts';

interface Args {
  readonly settings: TokenSettings;
}

const LABEL_OF_RECORDS = 'ota-agent-anchor';

/** As on a device, the seal is not the first object: tpm2-pkcs11 confuses handles where that one goes. */
export function initialise({ settings }: Args): void {
  initialiseToken(settings, process.env);
  initialiseUserPin(settings, process.env);
  generateKey(openToken(settings, 'read-write', process.env), UPTANE_KEY, 'ec-p256');
}

export async function records({ settings }: Args): Promise<string[]> {
  return texts(await open(settings).records());
}

/** Stores them one after the other and says what is there after each, in this process. */
export async function replace({
  settings,
  texts: all,
}: Args & { texts: string[] }): Promise<string[][]> {
  const anchor = open(settings);
  const seen: string[][] = [];
  for (const text of all) {
    await anchor.replace(Buffer.from(text));
    seen.push(texts(await anchor.records()));
  }
  return seen;
}

/** Stores records from `first` on until it is killed. */
export async function replaceForEver({ settings, first }: Args & { first: number }): Promise<void> {
  const anchor = open(settings);
  process.send?.('begun');
  for (let number = first; ; number += 1) await anchor.replace(Buffer.from(recordOf(number)));
}

/** As long as a seal is, and whole only if its end is its beginning. */
function recordOf(number: number): string {
  return `${String(number)} ${'x'.repeat(700)} ${String(number)}`;
}

/** Two objects, as a power cut between storing and destroying leaves them. */
export function storeBeside({ settings, texts: all }: Args & { texts: string[] }): void {
  const token = openToken(settings, 'read-write', process.env);
  token.run('store', (session) => {
    for (const text of all) {
      const value = Buffer.from(text);
      session.create({ class: 0, token: true, private: true, label: LABEL_OF_RECORDS, value });
    }
  });
}

/** What somebody without the PIN finds: a session of a process that never logged in. */
export function withoutLogin({ settings }: Args): number {
  const slots = openModule(settings).getSlots(true);
  const slot = Array.from({ length: slots.length }, (_, index) => slots.items(index)).find(
    (one) => one.getToken().label === LABEL,
  );
  if (slot === undefined) throw new Error('no token with our label');
  return slot.open(graphene.SessionFlag.SERIAL_SESSION).find({ label: LABEL_OF_RECORDS }).length;
}

/** Fills the token with what is not ours, and then stores. */
export async function replaceWhenFull({ settings }: Args): Promise<unknown> {
  const anchor = open(settings);
  await anchor.replace(Buffer.from(recordOf(1)));
  const said = SIZES_BYTES.map((sizeBytes) => fill(settings, sizeBytes));
  try {
    await anchor.replace(Buffer.from(recordOf(2)));
    return said;
  } catch (error) {
    const code = isOtaError(error) ? error.code : String(error);
    return code;
  }
}

const SIZES_BYTES = [512 * 1024, 16 * 1024, 512];

function fill(settings: TokenSettings, sizeBytes: number): string {
  const token = openToken(settings, 'read-write', process.env);
  const value = Buffer.alloc(sizeBytes);
  return token.run('fill', (session) => {
    for (let made = 0; made < 10_000; made += 1) {
      try {
        session.create({ class: 0, token: true, private: true, label: 'filler', value });
      } catch (error) {
        return `${String(made)} of ${String(sizeBytes)}: ${String(error)}`;
      }
    }
    return 'never full';
  });
}

export function protection({ settings }: Args): string {
  return protectionOf(openToken(settings, 'read-only', process.env)).protection;
}

/** @returns how many data objects of any name are left after cleaning up */
export function cleanUp({ settings }: Args): number {
  const token = openToken(settings, 'read-write', process.env);
  destroyUnfinished(token);
  return token.run('count', (session) => session.find({ class: 0 }).length);
}

/** Milliseconds of a read in a new process, and of each of some writes. */
export async function measure({ settings }: Args): Promise<{ readMs: number; writeMs: number[] }> {
  const anchor = open(settings);
  const read = performance.now();
  await anchor.records();
  const readMs = performance.now() - read;
  const writeMs: number[] = [];
  for (let number = 1; number <= 20; number += 1) {
    const start = performance.now();
    await anchor.replace(Buffer.from(recordOf(number)));
    writeMs.push(performance.now() - start);
  }
  return { readMs, writeMs };
}

function open(settings: TokenSettings): TokenAnchor {
  return new TokenAnchor(openToken(settings, 'read-only', process.env));
}

function texts(all: readonly Uint8Array[]): string[] {
  return all.map((bytes) => Buffer.from(bytes).toString());
}
