/** Real PKCS#11 tokens for tests: SoftHSM2, and the TEE emulator with its own secure world. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { TokenSettings } from '../../agent/io/token/token.ts';
import { startTee } from './tee.ts';
import { temporaryDirectory } from './temporary.ts';

export const USER_PIN = 'user-pin-4711';
export const SO_PIN = 'so-pin-0815';
export const LABEL = 'ota-agent';

/** Tokens of one test, blank at first, and the environment in which a process sees them. */
export interface TokenWorld {
  readonly directory: string;
  readonly settings: TokenSettings;
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export interface TokenKind {
  readonly name: string;
  /** Whether wrong PINs are counted and lock the token; SoftHSM2 only notes that there was one. */
  readonly locksPins: boolean;
  open(): Promise<TokenWorld>;
}

export const softHsm: TokenKind = {
  name: 'SoftHSM2',
  locksPins: false,
  open: () => {
    const directory = temporaryDirectory('softhsm');
    const { path } = directory;
    mkdirSync(join(path, 'tokens'));
    const configuration = join(path, 'softhsm2.conf');
    writeFileSync(
      configuration,
      `directories.tokendir = ${join(path, 'tokens')}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    return Promise.resolve({
      directory: path,
      settings: settingsIn(path, '/usr/lib/softhsm/libsofthsm2.so'),
      env: { SOFTHSM2_CONF: configuration },
      close: () => {
        directory.remove();
        return Promise.resolve();
      },
    });
  },
};

export const emulator: TokenKind = {
  name: 'TEE emulator',
  locksPins: true,
  open: () => openEmulator(),
};

export const emulatorOnRpmb: TokenKind = {
  name: 'TEE emulator on RPMB-FS',
  locksPins: true,
  open: () => openEmulator('--rpmb', '--private', 'rpmb'),
};

async function openEmulator(...args: readonly string[]): Promise<TokenWorld> {
  const directory = temporaryDirectory('tee');
  const { path } = directory;
  const tee = await startTee(path, ...args);
  return {
    directory: path,
    settings: settingsIn(path, tee.module),
    env: tee.env,
    close: async () => {
      await tee.stop();
      directory.remove();
    },
  };
}

function settingsIn(directory: string, module: string): TokenSettings {
  const files = { pin_file: join(directory, 'pin'), so_pin_file: join(directory, 'so-pin') };
  writeFileSync(files.pin_file, `${USER_PIN}\n`, { mode: 0o600 });
  writeFileSync(files.so_pin_file, `${SO_PIN}\n`, { mode: 0o600 });
  return { module, uri: `pkcs11:token=${LABEL}`, login: 'pin', ...files };
}
