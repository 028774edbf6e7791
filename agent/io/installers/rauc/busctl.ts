/** D-Bus calls through `busctl`: each is a process that ends in time, whatever the bus does. */
import { runTool } from '../../run-tool.ts';

const PROGRAM = 'busctl';
/** For the end of a `busctl` whose own time limit has failed. */
const GRACE_MS = 2000;

/** A call that was not answered, or answered with an error: what was said. */
export class BusFailure extends Error {
  override readonly name = 'BusFailure';
}

/** Where a method is: who has it, at which path, in which interface. */
export interface Receiver {
  readonly name: string;
  readonly path: string;
  readonly interface: string;
}

const BUS: Receiver = {
  name: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
};

export class Bus {
  readonly #connection: readonly string[];
  readonly #timeoutMs: number;

  /** @param address - of the system bus where `undefined` */
  constructor(address: string | undefined, timeoutMs: number) {
    this.#connection = address === undefined ? ['--system'] : [`--address=${address}`];
    this.#timeoutMs = timeoutMs;
  }

  /**
   * @param input - the signature of the arguments, then each as text; nothing for none
   * @returns the values of the answer, variants unwrapped
   * @throws BusFailure
   * @throws ToolFailure if `busctl` itself cannot be run
   */
  async call(to: Receiver, method: string, ...input: string[]): Promise<readonly unknown[]> {
    const limit = `--timeout=${String(this.#timeoutMs)}ms`;
    const options = [...this.#connection, limit, '--json=short'];
    const what = [to.name, to.path, to.interface, method];
    const args = [...options, 'call', ...what, ...input];
    const result = await runTool(PROGRAM, args, { timeoutMs: this.#timeoutMs + GRACE_MS });
    if (result.code !== 0) {
      const said = result.stderr.trim().split('\n').at(-1) ?? '';
      throw new BusFailure(`${method} of ${to.name}: ${said.replace(/^Call failed: /u, '')}`);
    }
    // A method without a result prints nothing.
    if (result.stdout.trim() === '') return [];
    return values(result.stdout, method);
  }

  /**
   * Who has a name now; another value after its owner, or the bus itself, has started anew.
   *
   * @returns `undefined` where nobody has it, or there is no bus
   */
  async owner(name: string): Promise<Owner | undefined> {
    try {
      const [unique] = await this.call(BUS, 'GetNameOwner', 's', name);
      // Unique names are counted from the start of the bus: those of another bus may be the same.
      const [bus] = await this.call(BUS, 'GetId');
      return { unique: String(unique), bus: String(bus) };
    } catch (error) {
      if (error instanceof BusFailure) return undefined;
      throw error;
    }
  }
}

/** One process on one bus. */
export interface Owner {
  readonly unique: string;
  readonly bus: string;
}

function values(stdout: string, method: string): readonly unknown[] {
  try {
    const plain = unwrapped(JSON.parse(stdout));
    if (Array.isArray(plain)) return plain;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new BusFailure(`${PROGRAM} printed no JSON for ${method}: ${stdout.slice(0, 200)}`);
}

/** Without the `{type, data}` that `busctl` writes around the answer and around each variant. */
function unwrapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== 'object' || value === null) return value;
  if ('type' in value && typeof value.type === 'string' && 'data' in value) {
    return unwrapped(value.data);
  }
  return new Map(Object.entries(value).map(([name, item]) => [name, unwrapped(item)]));
}
