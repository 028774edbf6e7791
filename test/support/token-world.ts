/** Real PKCS#11 tokens for tests: SoftHSM2, and the TEE emulator with its own secure world. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, watch, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { TokenSettings } from '../../agent/io/token/token.ts';
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

const REPOSITORY = join(import.meta.dirname, '../..');

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

const EMULATOR_LIBRARY = join(REPOSITORY, 'test/tee/build/libtee-cryptoki.so');

export const emulator: TokenKind = {
  name: 'TEE emulator',
  locksPins: true,
  open: async () => {
    const directory = temporaryDirectory('tee');
    const { path } = directory;
    const socket = join(path, 'socket');
    const secureWorld = await startSecureWorld(path, socket);
    return {
      directory: path,
      settings: settingsIn(path, EMULATOR_LIBRARY),
      env: { OTA_TEE_SOCKET: socket },
      close: async () => {
        await stop(secureWorld);
        directory.remove();
      },
    };
  },
};

/** @returns when the socket exists: then it is ready */
export async function startSecureWorld(directory: string, socket: string): Promise<ChildProcess> {
  const main = join(REPOSITORY, 'test/tee/secure-world/main.ts');
  const storage = join(directory, 'storage');
  mkdirSync(storage, { recursive: true });
  const appeared = new Promise<void>((resolve) => {
    const watcher = watch(dirname(socket), () => {
      if (!existsSync(socket)) return;
      watcher.close();
      resolve();
    });
  });
  const child = spawn(process.execPath, [main, '--storage', storage, '--socket', socket], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const died = once(child, 'exit').then(([code]) => {
    throw new Error(`the secure world ended with ${String(code)} before its socket appeared`);
  });
  await Promise.race([appeared, died]);
  return child;
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

function settingsIn(directory: string, module: string): TokenSettings {
  const files = { pin_file: join(directory, 'pin'), so_pin_file: join(directory, 'so-pin') };
  writeFileSync(files.pin_file, `${USER_PIN}\n`, { mode: 0o600 });
  writeFileSync(files.so_pin_file, `${SO_PIN}\n`, { mode: 0o600 });
  return { module, uri: `pkcs11:token=${LABEL}`, login: 'pin', ...files };
}
