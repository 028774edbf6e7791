/**
 * The choice in U-Boot's environment, through `fw_printenv` and `fw_setenv`.
 *
 * They are asked to change all variables at once: with a redundant environment that is one write of
 * the copy that is not in use, and U-Boot sees all of it or nothing. What was written is read again,
 * because a variable that U-Boot protects is left alone without a word.
 *
 * Source: agent/INSTALLERS.md has U-Boot's side of both conventions.
 */
import { runTool, ToolFailure, type ToolResult } from '../../run-tool.ts';
import { failed, otherSlot, type BootChoice, type Chosen, type Slot } from './boot-choice.ts';
import { parseLines } from './record.ts';

export type Convention = 'boot-order' | 'bootcount';

const TOOL_TIMEOUT_MS = 30_000;

type Variables = Readonly<Record<string, string>>;

/** How a choice is said in variables. */
interface Words {
  only(slot: Slot): Variables;
  attempt(slot: Slot, fallback: Slot, tries: number): Variables;
  read(values: ReadonlyMap<string, string>): Chosen;
}

export interface UbootOptions {
  /** The tools' configuration: where the environment is. */
  readonly configPath: string;
  readonly convention: Convention;
  readonly tries: number;
  readonly timeoutMs?: number;
}

export class UbootEnvironment implements BootChoice {
  readonly where: string;
  readonly #options: UbootOptions;
  readonly #words: Words;

  constructor(options: UbootOptions) {
    this.where = `${options.convention} by ${options.configPath}`;
    this.#options = options;
    this.#words = options.convention === 'bootcount' ? BOOTCOUNT : bootOrder(options.tries);
  }

  async read(): Promise<Chosen> {
    return this.#words.read(await this.#print());
  }

  async demandUsable(): Promise<void> {
    await this.read();
    await this.#run('fw_setenv', ['-V'], '');
  }

  async only(slot: Slot): Promise<void> {
    await this.#set(this.#words.only(slot));
  }

  async attempt(slot: Slot, fallback: Slot): Promise<void> {
    await this.#set(this.#words.attempt(slot, fallback, this.#options.tries));
  }

  async #set(variables: Variables): Promise<void> {
    if (differing(variables, await this.#print()) === undefined) return;
    const script = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
    await this.#run('fw_setenv', ['-s', '-'], script.join(''));
    const different = differing(variables, await this.#print());
    if (different === undefined) return;
    throw failed(`fw_setenv left ${different} as it was: let U-Boot's environment have it written`);
  }

  async #print(): Promise<ReadonlyMap<string, string>> {
    const { stdout } = await this.#run('fw_printenv', [], '');
    return parseLines(stdout, 'fw_printenv');
  }

  async #run(program: string, args: readonly string[], input: string): Promise<ToolResult> {
    const { configPath, timeoutMs = TOOL_TIMEOUT_MS } = this.#options;
    let result: ToolResult;
    try {
      result = await runTool(program, ['-c', configPath, ...args], { timeoutMs, input });
    } catch (error) {
      if (!(error instanceof ToolFailure)) throw error;
      const remedy = error.reason === 'missing' ? '; install libubootenv-tool' : '';
      throw failed(`${error.message}${remedy}`, error);
    }
    if (result.code === 0) return result;
    const said = result.stderr.trim().replace(/\s*\n\s*/gu, ', ');
    const remedy = `check ${configPath} and that there is an environment where it points`;
    throw failed(`${program} ended with ${String(result.code)} (${said}); ${remedy}`);
  }
}

/** @returns the name of a variable that does not have its value */
function differing(variables: Variables, values: ReadonlyMap<string, string>): string | undefined {
  return Object.keys(variables).find((name) => values.get(name) !== variables[name]);
}

/**
 * Those of RAUC: slots in `BOOT_ORDER`, tried while `BOOT_x_LEFT` is above 0.
 *
 * A slot that must not boot is left out of the order and not only counted out: where no slot has any
 * tries left, RAUC's script gives all in the order new ones.
 */
function bootOrder(tries: number): Words {
  const left = String(tries);
  return {
    only: (slot) => ({
      BOOT_ORDER: upper(slot),
      [`BOOT_${upper(slot)}_LEFT`]: left,
      [`BOOT_${upper(otherSlot(slot))}_LEFT`]: '0',
    }),
    attempt: (slot, fallback) => ({
      BOOT_ORDER: `${upper(slot)} ${upper(fallback)}`,
      [`BOOT_${upper(slot)}_LEFT`]: left,
      [`BOOT_${upper(fallback)}_LEFT`]: left,
    }),
    read: (values) => {
      const order = (values.get('BOOT_ORDER') ?? 'A B').split(/\s+/u).filter((name) => name !== '');
      const first = order.find((name) => Number(values.get(`BOOT_${name}_LEFT`) ?? left) > 0);
      const active = slotOf(first ?? order[0], 'BOOT_ORDER');
      return { active, state: order.length > 1 ? 'trial' : 'good' };
    },
  };
}

/** U-Boot's own boot counter: it counts while `upgrade_available` is 1, up to `bootlimit`. */
const BOOTCOUNT: Words = {
  only: (slot) => ({ ota_slot: slot, upgrade_available: '0', bootcount: '0' }),
  attempt: (slot, _fallback, tries) => ({
    ota_slot: slot,
    upgrade_available: '1',
    bootcount: '0',
    bootlimit: String(tries),
  }),
  read: (values) => ({
    active: slotOf(values.get('ota_slot') ?? 'a', 'ota_slot'),
    state: values.get('upgrade_available') === '1' ? 'trial' : 'good',
  }),
};

function upper(slot: Slot): string {
  return slot.toUpperCase();
}

function slotOf(name: string | undefined, variable: string): Slot {
  if (name === 'A' || name === 'a') return 'a';
  if (name === 'B' || name === 'b') return 'b';
  throw failed(
    `U-Boot's ${variable} names ${JSON.stringify(name ?? '')}, not a slot: set it to A or B`,
  );
}
