/** What the secure world is told when it starts: its arguments, and how it refuses them. */
import { parseArgs } from 'node:util';

const DEFAULT_SOCKET = '/run/ota-agent-tee/socket';

export const USAGE = `usage: npm run tee -- --storage DIR [--socket PATH] [--huk FILE] [--ta MODULE]...

  --storage DIR   where the tokens are kept; made, for its owner alone, when there is none
  --socket PATH   where clients connect; default $OTA_TEE_SOCKET, then ${DEFAULT_SOCKET}
  --huk FILE      the hardware unique key, 16 bytes; default DIR/huk, made when there is none
  --ta MODULE     one more trusted application: a module that exports app(backends)
  --help          this text
`;

/** Arguments that cannot be followed: the usage text helps. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

interface Options {
  readonly storage: string;
  readonly socket: string;
  readonly hukFile: string | undefined;
  /** Modules of trusted applications beside the PKCS#11 TA. */
  readonly taModules: readonly string[];
}

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
  const socket = values.socket ?? process.env['OTA_TEE_SOCKET'] ?? DEFAULT_SOCKET;
  if (socket === '') throw new UsageError('the socket path is empty: give one with --socket');
  return { storage: values.storage, socket, hukFile: values.huk, taModules: values.ta ?? [] };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        storage: { type: 'string' },
        socket: { type: 'string' },
        huk: { type: 'string' },
        ta: { type: 'string', multiple: true },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
