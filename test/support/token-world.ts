/**
 * Real PKCS#11 tokens for tests: SoftHSM2, a TPM 2.0 (tpm2-pkcs11 on swtpm), and the TEE emulator with its
 * own secure world; each of them also behind p11-kit's server.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { KeyType } from '../../agent/io/token/key-types.ts';
import type { TokenSettings } from '../../agent/io/token/token.ts';
import { startTee } from './tee.ts';
import { temporaryDirectory } from './temporary.ts';
import { startTpm } from './tpm.ts';

export const USER_PIN = 'user-pin-4711';
export const SO_PIN = 'so-pin-0815';
export const LABEL = 'ota-agent';

const MULTIARCH = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
const TPM2_PKCS11 = `/usr/lib/${MULTIARCH}/pkcs11/libtpm2_pkcs11.so`;

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
  /** What the token can do, of all the types that can be chosen. */
  readonly keyTypes: readonly KeyType[];
  /** `identity`: the secure world knows who the process runs as, and there is no PIN. */
  readonly login: 'PIN' | 'identity';
  /** What two tokens differ in: tpm2-pkcs11 gives all the same serial number, but no label twice. */
  readonly differIn: 'serial' | 'token';
  /** What brings a private key in from outside; a TPM takes none through PKCS#11. */
  readonly importsBy: 'C_CreateObject' | 'tpm2_ptool';
  /** What becomes of a key that is asked to be extractable. */
  readonly extractable: 'made' | 'refused';
  open(): Promise<TokenWorld>;
}

const ALL_KEY_TYPES = [
  'ec-p256',
  'ec-p384',
  'rsa-2048',
  'rsa-3072',
  'rsa-4096',
  'ed25519',
] as const;
const SOFTWARE = {
  login: 'PIN',
  differIn: 'serial',
  keyTypes: ALL_KEY_TYPES,
  importsBy: 'C_CreateObject',
  extractable: 'made',
} as const;

export const softHsm: TokenKind = {
  ...SOFTWARE,
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
  ...SOFTWARE,
  name: 'TEE emulator',
  locksPins: true,
  open: () => openEmulator(),
};

export const emulatorOnRpmb: TokenKind = {
  ...SOFTWARE,
  name: 'TEE emulator on RPMB-FS',
  locksPins: true,
  open: () => openEmulator('--rpmb', '--private', 'rpmb'),
};

/** The secure world knows the user of the process; there is no PIN. */
export const emulatorForUser: TokenKind = {
  ...SOFTWARE,
  name: 'TEE emulator, login tee-user',
  login: 'identity',
  locksPins: false,
  open: async () => withLogin(await openEmulator(), 'tee-user'),
};

export const emulatorForGroup: TokenKind = {
  ...SOFTWARE,
  name: 'TEE emulator, login tee-group',
  login: 'identity',
  locksPins: false,
  open: async () => withLogin(await openEmulator('--rpmb', '--private', 'rpmb'), 'tee-group'),
};

export const tpm: TokenKind = {
  name: 'TPM 2.0',
  login: 'PIN',
  differIn: 'token',
  locksPins: false,
  keyTypes: ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072'],
  importsBy: 'tpm2_ptool',
  extractable: 'refused',
  open: async () => {
    const directory = temporaryDirectory('tpm');
    const { path } = directory;
    mkdirSync(join(path, 'store'));
    const running = await startTpm(path);
    return {
      directory: path,
      settings: settingsIn(path, TPM2_PKCS11),
      env: { ...running.env, TPM2_PKCS11_STORE: join(path, 'store') },
      close: async () => {
        await running.stop();
        directory.remove();
      },
    };
  },
};

/** The same token, its library in a process of its own; p11-kit 0.24 passes nothing of Edwards curves on. */
export function isolated(kind: TokenKind): TokenKind {
  return {
    ...kind,
    name: `${kind.name} behind p11-kit`,
    keyTypes: kind.keyTypes.filter((type) => type !== 'ed25519'),
    open: async () => {
      const world = await kind.open();
      return { ...world, settings: { ...world.settings, isolation: 'p11-kit' } };
    },
  };
}

function withLogin(world: TokenWorld, login: 'tee-user' | 'tee-group'): TokenWorld {
  const { module, uri } = world.settings;
  return { ...world, settings: { module, uri, login } };
}

async function openEmulator(...args: readonly string[]): Promise<TokenWorld> {
  const directory = temporaryDirectory('tee');
  const { path } = directory;
  const tee = await startTee(path, ...args).catch((error: unknown) => {
    directory.remove();
    throw error;
  });
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
