/** A secure world with a control socket, and the emulator's Cryptoki library in front of it. */
import { join } from 'node:path';

import { TeeControl } from '../support/tee-control.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { SecureWorld, type Ended } from './tee-secure-world-process.ts';
import {
  CKA,
  CKM,
  firstSlot,
  loadToken,
  openUserSession,
  P256,
  prepareToken,
  type Handle,
  type Token,
} from './tee-secure-world-token.ts';

export class ControlledTee {
  readonly #directory = temporaryDirectory('tee-control');
  #world: SecureWorld | undefined;
  #control: TeeControl | undefined;

  /** Starts the world, again when it is dead. A test that is over has `close` called. */
  async start(...more: readonly string[]): Promise<TeeControl> {
    const socket = this.at('socket');
    const paths = ['--storage', this.at('s'), '--socket', socket, '--control', this.at('control')];
    this.#world = await SecureWorld.start(...paths, ...more);
    this.#control = await TeeControl.connect(this.at('control'));
    return this.#control;
  }

  /** As `start`, with PINs on the token of slot 0. */
  async startPrepared(...more: readonly string[]): Promise<TeeControl> {
    const control = await this.start(...more);
    this.withToken((token) => {
      prepareToken(token, firstSlot(token));
    });
    return control;
  }

  at(name: string): string {
    return join(this.#directory.path, name);
  }

  withToken<T>(run: (token: Token) => T): T {
    process.env['OTA_TEE_SOCKET'] = this.at('socket');
    const token = loadToken();
    try {
      return run(token);
    } finally {
      token.C_Finalize();
    }
  }

  /** As `withToken`, with faults between the calls. */
  async withTokenAnd(run: (token: Token) => Promise<void>): Promise<void> {
    process.env['OTA_TEE_SOCKET'] = this.at('socket');
    const token = loadToken();
    try {
      await run(token);
    } finally {
      token.C_Finalize();
    }
  }

  withUser<T>(run: (token: Token, session: Handle) => T): T {
    return this.withToken((token) => run(token, openUserSession(token, firstSlot(token))));
  }

  /** The world's end, when something else brings it about. */
  async ended(): Promise<Ended | undefined> {
    this.#control?.close();
    return this.#world?.ended;
  }

  async close(): Promise<void> {
    this.#control?.close();
    await this.#world?.end('SIGKILL');
    this.#directory.remove();
  }
}

/** A pair on the token under a label of its own. */
export function makePair(token: Token, session: Handle, label: string): void {
  const both = [
    { type: CKA.TOKEN, value: true },
    { type: CKA.LABEL, value: label },
  ];
  token.C_GenerateKeyPair(
    session,
    { mechanism: CKM.EC_KEY_PAIR_GEN },
    [...both, { type: CKA.EC_PARAMS, value: P256 }],
    [...both, { type: CKA.PRIVATE, value: true }, { type: CKA.SIGN, value: true }],
  );
}

export function findByLabel(token: Token, session: Handle, label: string): readonly Handle[] {
  token.C_FindObjectsInit(session, [{ type: CKA.LABEL, value: label }]);
  const found = token.C_FindObjects(session, 100);
  token.C_FindObjectsFinal(session);
  return found;
}
