/** What the secure world is told when it starts: its arguments, and how it refuses them. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { DEFAULT_SLOT_COUNT } from './pkcs11/abi.ts';
import type { Pkcs11Options } from './pkcs11/ta.ts';
import type { BackendName } from './storage/backends.ts';

const DEFAULT_SOCKET = '/run/ota-agent-tee/socket';
/** Each slot costs a record in storage at start. */
const MAX_SLOTS = 64;

export const USAGE = `usage: npm run tee -- --storage DIR [--socket PATH] [--huk FILE]
           [--rpmb] [--rpmb-dir PATH] [--private ree|rpmb] [--slots N] [--strict]
           [--control PATH] [--ta MODULE]...

  --storage DIR    where the tokens are kept; made, for its owner alone, when there is none
  --socket PATH    where clients connect; default $OTA_TEE_SOCKET, then ${DEFAULT_SOCKET}
  --huk FILE       the hardware unique key, 16 bytes; default DIR/huk, made when there is none
  --rpmb           there is an RPMB: rolling back DIR is detected by what it remembers
  --rpmb-dir PATH  where the RPMB is kept, with --rpmb; default DIR/rpmb
  --private KIND   what TEE_STORAGE_PRIVATE is: ree (default), or rpmb, with --rpmb, for tokens in
                   the RPMB and no REE-FS at all
  --slots N        tokens of the PKCS#11 TA, 1 to ${String(MAX_SLOTS)}; default ${String(DEFAULT_SLOT_COUNT)}
  --strict         answer as OP-TEE does where it falls short of PKCS#11, panics included
  --control PATH   where tests inject faults (test/tee/CONTROL.md); off when it is not given
  --ta MODULE      one more trusted application: a module that exports app(backends)
  --help           this text
`;

/** Arguments that cannot be followed: the usage text helps. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export interface Options {
  readonly storage: string;
  readonly socket: string;
  readonly hukFile: string | undefined;
  /** `undefined` without an RPMB. */
  readonly rpmbDirectory: string | undefined;
  readonly private: BackendName;
  readonly pkcs11: Pkcs11Options;
  readonly controlSocket: string | undefined;
  /** Modules of trusted applications beside those that are always there. */
  readonly taModules: readonly string[];
}

type Values = NonNullable<ReturnType<typeof parse>>;

/**
 * @returns `undefined` when help is asked for
 * @throws UsageError with what is wrong and what to do
 */
export function readOptions(args: readonly string[]): Options | undefined {
  const values = parse(args);
  if (values.help === true) return undefined;
  if (values.storage === undefined || values.storage === '') {
    throw new UsageError('--storage is missing: say in which directory the tokens are kept');
  }
  return {
    storage: values.storage,
    ...readSockets(values),
    hukFile: values.huk,
    ...readRpmb(values, values.storage),
    pkcs11: {
      slotCount: readSlotCount(values.slots),
      mode: values.strict === true ? 'strict' : 'default',
    },
    taModules: values.ta ?? [],
  };
}

function readSockets(values: Values): Pick<Options, 'socket' | 'controlSocket'> {
  const socket = values.socket ?? process.env['OTA_TEE_SOCKET'] ?? DEFAULT_SOCKET;
  if (socket === '') throw new UsageError('the socket path is empty: give one with --socket');
  if (values.control === '' || values.control === socket) {
    throw new UsageError('the control socket needs a path of its own: give one with --control');
  }
  return { socket, controlSocket: values.control };
}

function readRpmb(values: Values, storage: string): Pick<Options, 'rpmbDirectory' | 'private'> {
  const { rpmb = false, 'rpmb-dir': directory, private: kind = 'ree' } = values;
  if (kind !== 'ree' && kind !== 'rpmb') {
    throw new UsageError(`--private is ${JSON.stringify(kind)}: it can be ree or rpmb`);
  }
  if (directory === '') throw new UsageError('--rpmb-dir is empty: say where the RPMB is kept');
  if (!rpmb && directory !== undefined) {
    throw new UsageError('--rpmb-dir says where an RPMB is kept: there is one with --rpmb only');
  }
  if (!rpmb && kind === 'rpmb') {
    throw new UsageError(
      '--private rpmb keeps the tokens in an RPMB: there is one with --rpmb only',
    );
  }
  return { private: kind, rpmbDirectory: rpmb ? (directory ?? join(storage, 'rpmb')) : undefined };
}

function readSlotCount(text: string | undefined): number {
  if (text === undefined) return DEFAULT_SLOT_COUNT;
  const count = /^[0-9]{1,3}$/u.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MAX_SLOTS) return count;
  throw new UsageError(`--slots ${text}: give a number of tokens from 1 to ${String(MAX_SLOTS)}`);
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        storage: { type: 'string' },
        socket: { type: 'string' },
        huk: { type: 'string' },
        rpmb: { type: 'boolean' },
        'rpmb-dir': { type: 'string' },
        private: { type: 'string' },
        slots: { type: 'string' },
        strict: { type: 'boolean' },
        control: { type: 'string' },
        ta: { type: 'string', multiple: true },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
