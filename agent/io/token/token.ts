/** One PKCS#11 token: session, login and what to do when either ends under us. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import { findToken, type Candidate } from './find-token.ts';
import { logIn } from './login.ts';
import { openModule, privateDirectory, type ModuleSettings } from './module.ts';
import { readPin, type Pin, type PinSettings } from './pin.ts';
import { isTeeIdentity, TEE_IDENTITY } from './tee-identity.ts';
import { parseTokenUri } from './pkcs11-uri.ts';
import { isCkr, isSessionLost, translated } from './token-errors.ts';

const { SERIAL_SESSION, RW_SESSION } = graphene.SessionFlag;

/** The `token` section of the settings. */
export interface TokenSettings extends PinSettings, ModuleSettings {
  readonly uri: string;
}

/** What names this token among all others, as the token itself says. */
export interface TokenName {
  readonly token: string;
  readonly serial: string;
  readonly manufacturer: string;
  readonly model: string;
}

/**
 * An open token. Calls block: a PKCS#11 session does one thing at a time, and so does libp11, which
 * shares login and sessions with it.
 */
export class Token {
  /** As configured; it holds no PIN. */
  readonly uri: string;
  readonly settings: TokenSettings;
  readonly #access: 'read-only' | 'read-write';
  readonly #pin: Pin | undefined;
  #session: graphene.Session | undefined;
  #found: Candidate | undefined;
  #mechanisms: ReadonlySet<number> | undefined;

  constructor(settings: TokenSettings, access: 'read-only' | 'read-write', pin: Pin | undefined) {
    this.uri = settings.uri;
    this.settings = settings;
    this.#access = access;
    this.#pin = pin;
  }

  /**
   * Runs `act` with a session that is open and logged in.
   *
   * libp11 may close every session of the slot, a secure world may restart, and an isolated library may
   * crash: a session that is lost is opened again and `act` is run once more. So `act` must look its
   * objects up itself, and must not have had an effect before the call that failed.
   *
   * @param operation - what is being done, for TOKEN_FAILED
   * @throws OtaError TOKEN_ABSENT, TOKEN_PIN_INCORRECT, TOKEN_LOCKED, TOKEN_FAILED
   */
  run<T>(operation: string, act: (session: graphene.Session) => T): T {
    try {
      return act(this.#open());
    } catch (error) {
      const crashed = this.settings.isolation === 'p11-kit' && isCkr(error, 'DEVICE_ERROR');
      if (!isSessionLost(error) && !crashed) {
        throw translated(error, { operation, uri: this.uri });
      }
      if (!isCkr(error, 'USER_NOT_LOGGED_IN')) this.#session = undefined;
    }
    try {
      return act(this.#open());
    } catch (error) {
      throw translated(error, { operation, uri: this.uri });
    }
  }

  get name(): TokenName {
    const { label, serialNumber, manufacturerID, model } = this.#present().info;
    return { token: label, serial: serialNumber, manufacturer: manufacturerID, model };
  }

  /** What the PKCS#11 library calls itself. */
  get library(): string {
    const { libraryDescription, manufacturerID } = openModule(this.settings);
    return `${manufacturerID} ${libraryDescription}`;
  }

  /** Mechanisms that the token says it has, by their PKCS#11 number. */
  mechanisms(): ReadonlySet<number> {
    this.#mechanisms ??= this.run('C_GetMechanismList', (session) => {
      const { lib, handle } = session.slot;
      return new Set(lib.C_GetMechanismList(handle));
    });
    return this.#mechanisms;
  }

  /**
   * Runs `act` with a file that has the PIN, in the private directory of an isolated library, and removes
   * it: libp11 has to log in there by itself, and would print a PIN that stood in the URI.
   *
   * @param act - `undefined` where login is shared, or needs no PIN
   */
  withPinFile<T>(act: (path: string | undefined) => T): T {
    const directory = privateDirectory(this.settings);
    if (directory === undefined || this.#pin === undefined || isTeeIdentity(this.settings)) {
      return act(undefined);
    }
    const path = join(directory, 'pin');
    try {
      writeFileSync(path, this.#pin.reveal(), { mode: 0o600 });
      return act(path);
    } finally {
      rmSync(path, { force: true });
    }
  }

  /** Names of all mechanisms, for messages. */
  offeredMechanisms(): string {
    return [...this.mechanisms()].map(mechanismName).join(' ');
  }

  /** Key sizes that a mechanism takes, as the token says; `undefined` if it has no such mechanism. */
  keySizes(mechanism: number): { minBits: number; maxBits: number } | undefined {
    if (!this.mechanisms().has(mechanism)) return undefined;
    return this.run('C_GetMechanismInfo', ({ slot: { lib, handle } }) => {
      const { minKeySize, maxKeySize } = lib.C_GetMechanismInfo(handle, mechanism);
      return { minBits: minKeySize, maxBits: maxKeySize };
    });
  }

  /** @throws OtaError TOKEN_MECHANISM, with what there is, unless the token has one of `wanted` */
  chooseMechanism(...wanted: readonly number[]): number {
    const offered = this.mechanisms();
    const chosen = wanted.find((one) => offered.has(one));
    if (chosen === undefined) {
      throw new OtaError('TOKEN_MECHANISM', {
        mechanism: wanted.map(mechanismName).join(' or '),
        offered: this.offeredMechanisms(),
      });
    }
    return chosen;
  }

  /** The same token for writing, with the PIN that was read for this one; to be closed by itself. */
  forWriting(): Token {
    return new Token(this.settings, 'read-write', this.#pin);
  }

  /**
   * Closes this session only: closing all of them would end the TLS engine's.
   *
   * That a token is gone is not said here: whoever met its absence before says more.
   */
  close(): void {
    const session = this.#session;
    this.#session = undefined;
    try {
      session?.close();
    } catch (error) {
      if (translated(error, { operation: 'close', uri: this.uri }) === error) throw error;
    }
  }

  #open(): graphene.Session {
    const session = this.#live() ?? this.#reopen();
    if (this.#pin !== undefined) logIn(session, this.#pin, this.uri);
    return session;
  }

  /** The session we have, if the token still knows it. */
  #live(): graphene.Session | undefined {
    if (this.#session === undefined) return undefined;
    const { lib, handle } = this.#session;
    lib.C_GetSessionInfo(handle);
    return this.#session;
  }

  #reopen(): graphene.Session {
    this.#found = undefined;
    const { slot } = this.#present();
    this.#session =
      this.#access === 'read-write' ? slot.open(SERIAL_SESSION | RW_SESSION) : slot.open();
    return this.#session;
  }

  #present(): Candidate {
    const { uri } = this.settings;
    this.#found ??= findToken(openModule(this.settings), parseTokenUri(uri), uri);
    return this.#found;
  }
}

/**
 * Opens the token that the settings name and logs in.
 *
 * @throws OtaError TOKEN_MODULE, TOKEN_ABSENT, TOKEN_OBJECT, TOKEN_PIN_MISSING, TOKEN_PIN_INCORRECT,
 *   TOKEN_LOCKED, NOT_PROVISIONED if it has no user PIN yet
 */
export function openToken(
  settings: TokenSettings,
  access: 'read-only' | 'read-write',
  env: NodeJS.ProcessEnv,
): Token {
  const pin = readSecret(settings, env);
  const token = new Token(settings, access, pin);
  try {
    token.run('open', () => undefined);
    return token;
  } catch (error) {
    // Without login there is still a session, and the daemon tries again at every poll.
    token.close();
    throw error;
  }
}

function readSecret(settings: TokenSettings, env: NodeJS.ProcessEnv): Pin | undefined {
  if (settings.login === 'none') return undefined;
  return isTeeIdentity(settings) ? TEE_IDENTITY : readPin('user', settings, env);
}

/** As PKCS#11 spells it, without CKM_. */
export function mechanismName(mechanism: number): string {
  const name: unknown = Reflect.get(graphene.MechanismEnum, mechanism);
  return typeof name === 'string' ? name : `0x${mechanism.toString(16)}`;
}
