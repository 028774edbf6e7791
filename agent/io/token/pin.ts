/**
 * PINs: where they come from, and an object that does not show them.
 *
 * Nothing keeps one: a PIN is read when somebody logs in, and its bytes are overwritten right after. The
 * text that the Cryptoki binding wants in between is V8's, and ends when V8 wants its memory.
 */
import { isUtf8 } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';

import { causeOf, OtaError } from '../../errors.ts';

export type PinKind = 'user' | 'so';

export interface PinSettings {
  readonly pin_file?: string | undefined;
  readonly so_pin_file?: string | undefined;
}

/** A PIN that logs, JSON and error messages cannot show by accident. */
export class Pin {
  readonly #read: () => Buffer;

  /** @param read - gives the PIN in a buffer that nobody else uses: it is overwritten */
  constructor(read: () => Buffer) {
    this.#read = read;
  }

  /** For the one call that needs it; keep it nowhere. */
  reveal(): string {
    const bytes = this.#read();
    try {
      return bytes.toString('utf8');
    } finally {
      bytes.fill(0);
    }
  }

  toString(): string {
    return '[PIN]';
  }

  toJSON(): string {
    return '[PIN]';
  }

  [inspect.custom](): string {
    return '[PIN]';
  }
}

const SOURCES = {
  user: { setting: 'pin_file', credential: 'pin', variable: 'OTA_AGENT_PIN' },
  so: { setting: 'so_pin_file', credential: 'so-pin', variable: 'OTA_AGENT_SO_PIN' },
} as const;

/** The environment of last resort. */
const PIN_VARIABLES: readonly string[] = [SOURCES.user.variable, SOURCES.so.variable];

/** For processes that load a PKCS#11 library: what a library is told is what it could tell. */
export function withoutPins(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const rest = { ...env };
  for (const variable of PIN_VARIABLES) Reflect.deleteProperty(rest, variable);
  return rest;
}

/** No token takes more (CK_TOKEN_INFO.ulMaxPinLen), and whoever names a larger file means another. */
const MAX_PIN_BYTES = 4096;

/**
 * Finds a PIN: the file in the settings, else the systemd credential, else the environment.
 *
 * The environment comes last because every child process inherits it; both variables are taken out of
 * it here. One trailing newline is removed: editors add it, and a token counts it as a wrong try.
 *
 * @throws OtaError TOKEN_PIN_MISSING if there is none, or an empty one
 * @throws OtaError TOKEN_PIN_EXPOSED if other users could read the file in the settings
 * @throws OtaError FILE_UNREADABLE if the settings name a file that cannot be read
 */
export function readPin(kind: PinKind, settings: PinSettings, env: NodeJS.ProcessEnv): Pin {
  const environment = takePins(env);
  const read = (): Buffer => findPin(kind, settings, environment);
  read().fill(0);
  return new Pin(read);
}

interface Environment {
  readonly credentials: string | undefined;
  readonly pins: ReadonlyMap<string, string | undefined>;
}

const taken = new WeakMap<NodeJS.ProcessEnv, Environment>();

function takePins(env: NodeJS.ProcessEnv): Environment {
  const present = taken.get(env);
  if (present !== undefined) return present;
  const pins = new Map(PIN_VARIABLES.map((name) => [name, env[name]]));
  const environment = { credentials: env['CREDENTIALS_DIRECTORY'], pins };
  for (const name of PIN_VARIABLES) Reflect.deleteProperty(env, name);
  taken.set(env, environment);
  return environment;
}

function findPin(kind: PinKind, settings: PinSettings, env: Environment): Buffer {
  const { setting, credential, variable } = SOURCES[kind];
  const text = env.pins.get(variable);
  const bytes =
    readNamedFile(settings[setting], setting) ??
    readCredential(env.credentials, credential) ??
    (text === undefined ? undefined : Buffer.from(text));
  const pin = bytes?.subarray(0, lengthWithoutNewline(bytes));
  if (pin === undefined || pin.length === 0) {
    throw new OtaError('TOKEN_PIN_MISSING', {
      which: kind === 'user' ? 'user PIN' : 'SO PIN',
      remedy: `set token.${setting}, or the systemd credential "${credential}"`,
    });
  }
  return pin;
}

function lengthWithoutNewline(bytes: Buffer): number {
  const [beforeLast, last] = bytes.subarray(-2).length === 2 ? bytes.subarray(-2) : [0, bytes[0]];
  if (last !== 0x0a) return bytes.length;
  return bytes.length - (beforeLast === 0x0d ? 2 : 1);
}

function readNamedFile(path: string | undefined, setting: string): Buffer | undefined {
  if (path === undefined) return undefined;
  try {
    return readSecret(path, (stats) => {
      demandPrivate(path, stats);
    });
  } catch (cause) {
    if (cause instanceof OtaError) throw cause;
    const remedy = `check token.${setting} and the permissions of the file`;
    const details = { path, what: 'PIN', cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}

/** systemd has seen to it that nobody else reads what is in there. */
function readCredential(directory: string | undefined, name: string): Buffer | undefined {
  if (directory === undefined) return undefined;
  const path = join(directory, name);
  try {
    return readSecret(path, () => undefined);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    const remedy = `check LoadCredential=${name} of the service`;
    const details = { path, what: 'PIN', cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}

/** @returns a buffer that no stream or pool has a copy of */
function readSecret(path: string, check: (stats: Stats) => void): Buffer {
  // A pipe that nobody writes to would keep us here.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) throw new Error('not a regular file');
    check(stats);
    if (stats.size > MAX_PIN_BYTES) throw new Error('larger than any PIN');
    const bytes = Buffer.alloc(stats.size);
    const length = readSync(file, bytes, 0, bytes.length, 0);
    const pin = bytes.subarray(0, length);
    // It would become another PIN on its way, and cost a try.
    if (!isUtf8(pin)) throw new Error('not UTF-8');
    return pin;
  } finally {
    closeSync(file);
  }
}

const OTHERS = 0o007;
const GROUP_WRITE = 0o020;
const GROUP_READ = 0o040;

/** A group may read what root gives it: that is how a file reaches a service with a user of its own. */
function demandPrivate(path: string, { mode, uid }: Stats): void {
  const isShared = (mode & GROUP_READ) !== 0 && uid !== 0;
  if ((mode & (OTHERS | GROUP_WRITE)) === 0 && !isShared) return;
  const problem = `mode ${(mode & 0o777).toString(8).padStart(4, '0')}: others have access to it`;
  const remedy = `chmod 600 ${path}, and change the PIN if others use this machine`;
  throw new OtaError('TOKEN_PIN_EXPOSED', { path, problem, remedy });
}
