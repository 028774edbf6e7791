/**
 * A program of the user that installs: one call per step, told by its arguments and environment.
 *
 * It is believed about nothing that can be compared: what it has written and what runs it says by
 * digest, and the digests are held against what both repositories signed. agent/INSTALLERS.md has the
 * contract; exit codes and `SECONDARY_*` are those of Torizon's action handlers.
 */
import { OtaError } from '../../errors.ts';
import type { Progress, StagedInstaller } from '../../ports.ts';
import type { Target, TrustedTarget } from '../../uptane/plan.ts';
import { verifyImageAt } from '../image-file.ts';
import { runTool, type ToolResult } from '../run-tool.ts';
import { parseAnswer, progressIn, type Answer } from './command-answer.ts';
import { demandKind, guarded } from './guard.ts';

export interface CommandSettings {
  /** The program and its first arguments; the verb follows them. */
  readonly command: readonly string[];
  /** Of each call. */
  readonly timeoutMs: number;
}

type Verb = 'describe' | 'check' | 'write' | 'activate' | 'booted' | 'confirm' | 'roll-back';

/** What the last two of its exit codes mean; any other is a failure of the program. */
const NOTHING_TO_DO = 64;
const REFUSED = 65;
/** Of progress and answer; a program that says more has run away. */
const MAX_CHARACTERS = 256 * 1024;
const DESCRIBE_TIMEOUT_MS = 10_000;
/** Of the agent's own environment; sockets and secrets of the service are not among it. */
const INHERITED = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR'];

export class CommandInstaller implements StagedInstaller {
  readonly kind = 'command';
  readonly takes = 'staged';
  readonly #settings: CommandSettings;
  #needsReboot: Promise<boolean> | undefined;

  constructor(settings: CommandSettings) {
    this.#settings = settings;
  }

  /**
   * What the program itself has declared, asked until it has said it once.
   *
   * @throws OtaError INSTALL_FAILED
   */
  get needsReboot(): Promise<boolean> {
    this.#needsReboot ??= this.describe().then(({ reboot }) => reboot === 'true');
    this.#needsReboot.catch(() => {
      this.#needsReboot = undefined;
    });
    return this.#needsReboot;
  }

  async check(target: TrustedTarget): Promise<void> {
    demandKind('bytes', target, this.kind);
    await this.#demand('check', target);
  }

  async write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void> {
    await this.#guard(target.ecu, () => verifyImageAt(stagedPath, target));
    const answer = await this.#demand('write', target, stagedPath, (line) => {
      const percent = progressIn(line);
      if (percent !== undefined)
        progress(Math.floor((target.lengthBytes * percent) / 100), target.lengthBytes);
    });
    const wrong = wrongDigest(answer, target);
    if (wrong === 'none') {
      const cause = `${this.#program} write: its answer has no digest of what it read back, want "sha256"`;
      throw this.#failure(target.ecu, cause);
    }
    if (wrong === undefined) return;
    const { algorithm, signed, computed } = wrong;
    throw new OtaError('IMAGE_HASH_MISMATCH', {
      filename: target.filename,
      algorithm,
      signed,
      computed,
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#run('activate', target);
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    const answer = await this.#run('booted', target);
    return answer !== undefined && wrongDigest(answer, target) === undefined;
  }

  async confirm(target: TrustedTarget): Promise<void> {
    await this.#run('confirm', target);
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#run('roll-back', target);
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    return this.#guard('-', async () => {
      const [program = '', ...args] = this.#settings.command;
      const result = await runTool(program, [...args, 'describe'], {
        timeoutMs: DESCRIBE_TIMEOUT_MS,
        env: this.#environment('describe'),
        maxCharacters: MAX_CHARACTERS,
      });
      const answer = this.#judge('describe', result) ?? new Map<string, unknown>();
      if (typeof answer.get('reboot') !== 'boolean') {
        throw new Error(`${this.#program} describe: its answer has to say "reboot": true or false`);
      }
      const shown = [...answer].filter(([, value]) => typeof value !== 'object');
      const found = shown.map(([name, value]) => [name, String(value)] as const);
      return { program: this.#program, ...Object.fromEntries(found) };
    });
  }

  /** As `#run`, where there always is something to do. */
  async #demand(
    verb: Verb,
    target: Target,
    imagePath?: string,
    onLine?: (line: string) => void,
  ): Promise<Answer> {
    const answer = await this.#run(verb, target, imagePath, onLine);
    if (answer !== undefined) return answer;
    const cause = `${this.#program} ${verb}: not now (exit code ${String(NOTHING_TO_DO)})`;
    throw this.#failure(target.ecu, cause);
  }

  /** @returns the answer; `undefined` if there is nothing to do */
  #run(
    verb: Verb,
    target: Target,
    imagePath?: string,
    onLine?: (line: string) => void,
  ): Promise<Answer | undefined> {
    const [program = '', ...args] = this.#settings.command;
    return this.#guard(target.ecu, async () => {
      const result = await runTool(program, [...args, verb], {
        timeoutMs: this.#settings.timeoutMs,
        env: { ...this.#environment(verb), ...about(target, imagePath) },
        maxCharacters: MAX_CHARACTERS,
        ...(onLine && { onLine }),
      });
      return this.#judge(verb, result);
    });
  }

  #judge(verb: Verb, { code, stdout, stderr }: ToolResult): Answer | undefined {
    const call = `${this.#program} ${verb}`;
    if (code === NOTHING_TO_DO) return undefined;
    if (code !== 0 && code !== REFUSED) {
      throw new Error(`${call} ended with code ${String(code)}: ${reasonOf(stderr)}`);
    }
    const answer = this.#parse(call, stdout);
    if (code === 0 && answer.get('status') !== 'failed') return answer;
    const message = answer.get('message');
    const reason = typeof message === 'string' ? message : reasonOf(stderr);
    throw new Error(`${call} ${code === REFUSED ? 'refuses' : 'failed'}: ${reason}`);
  }

  #parse(call: string, stdout: string): Answer {
    try {
      return parseAnswer(stdout);
    } catch (error) {
      throw new Error(`${call}: ${error instanceof Error ? error.message : ''}`, { cause: error });
    }
  }

  get #program(): string {
    return this.#settings.command[0] ?? '';
  }

  #environment(verb: Verb): NodeJS.ProcessEnv {
    const inherited = INHERITED.map((name) => [name, process.env[name]] as const);
    return { ...Object.fromEntries(inherited), OTA_INTERFACE: '1', OTA_VERB: verb };
  }

  #failure(ecu: string, cause: string): OtaError<'INSTALL_FAILED'> {
    return new OtaError('INSTALL_FAILED', { installer: this.kind, ecu, cause });
  }

  #guard<T>(ecu: string, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, act);
  }
}

/** What a program is told of a target; under Torizon's names as well. */
function about(target: Target, imagePath: string | undefined): NodeJS.ProcessEnv {
  const sha256 = target.hashes.get('sha256');
  return {
    OTA_ECU_SERIAL: target.ecu,
    OTA_HARDWARE_ID: target.hardwareId,
    OTA_FILENAME: target.filename,
    OTA_LENGTH: String(target.lengthBytes),
    OTA_SHA256: sha256,
    OTA_SHA512: target.hashes.get('sha512'),
    OTA_FORMAT: target.format,
    OTA_IMAGE_PATH: imagePath,
    SECONDARY_INTERFACE_MAJOR: '1',
    SECONDARY_INTERFACE_MINOR: '0',
    SECONDARY_ECU_SERIAL: target.ecu,
    SECONDARY_HARDWARE_ID: target.hardwareId,
    SECONDARY_FIRMWARE_SHA256: sha256,
    SECONDARY_FIRMWARE_PATH: imagePath,
    SECONDARY_UPDATE_TYPE: 'online',
  };
}

/** @returns the first digest that is not the signed one; `none` if it names no signed one at all */
function wrongDigest(
  answer: Answer,
  { hashes }: Target,
): { algorithm: string; signed: string; computed: string } | 'none' | undefined {
  const named = [...hashes].flatMap(([algorithm, signed]) => {
    const computed = answer.get(algorithm);
    return typeof computed === 'string' ? [{ algorithm, signed, computed }] : [];
  });
  return named.length === 0 ? 'none' : named.find(({ signed, computed }) => signed !== computed);
}

function reasonOf(stderr: string): string {
  const last = stderr.trim().split('\n').at(-1)?.trim() ?? '';
  return last === '' ? 'it does not say why' : last;
}
