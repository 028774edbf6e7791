/** Other people's programs: run without a shell, bounded in time and output, and told apart how they end. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';

import { causeOf } from '../errors.ts';
import { endsWithUs } from './last-will.ts';

export interface ToolOptions {
  /** After that it is killed. */
  readonly timeoutMs: number;
  /** Written to its standard input; else that is empty. */
  readonly input?: AsyncIterable<Uint8Array> | string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Called with each whole line of its standard output, without the line's end. */
  readonly onLine?: (line: string) => void;
  /** Of its standard output; one that says more is killed. */
  readonly maxCharacters?: number;
}

export interface ToolResult {
  /** Its exit code; -1 when a signal ended it. */
  readonly code: number;
  /** The last 64 KiB of each. */
  readonly stdout: string;
  readonly stderr: string;
}

/** What went wrong, in words that name the program. */
export class ToolFailure extends Error {
  override readonly name = 'ToolFailure';
  readonly reason: 'missing' | 'timeout' | 'signal' | 'output';

  constructor(reason: ToolFailure['reason'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

const KEPT_CHARACTERS = 64 * 1024;
/** What is in the pipe is read in that time. */
const LEFT_OPEN_MS = 1000;

/**
 * Runs one program to its end. An exit code is the caller's to judge.
 *
 * @throws ToolFailure if it is not there, does not end in time, says too much, or a signal ends it
 */
export async function runTool(
  program: string,
  args: readonly string[],
  options: ToolOptions,
): Promise<ToolResult> {
  const { timeoutMs, input = '', env = process.env, cwd, onLine, maxCharacters } = options;
  // A group of its own: what it has started ends with it.
  const child = spawn(program, args, { env, cwd, stdio: 'pipe', detached: true });
  const { pid } = child;
  endsWithUs(child, 'group');
  const late = new AbortController();
  const loud = new AbortController();
  const kill = (): void => {
    killGroup(pid);
  };
  const timer = setTimeout(() => {
    late.abort();
    kill();
  }, timeoutMs);
  const stdout = kept(child.stdout, onLine, (characters) => {
    if (maxCharacters === undefined || characters <= maxCharacters) return;
    loud.abort();
    kill();
  });
  const stderr = kept(child.stderr);
  child.once('exit', () => {
    leaveBehind(child);
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve({ code, signal });
    });
  });
  try {
    const fed = feed(child.stdin, input);
    const { code, signal } = await ended;
    const inputFailure = await fed;
    const seconds = String(timeoutMs / 1000);
    if (late.signal.aborted)
      throw new ToolFailure('timeout', `${program} did not end within ${seconds} s`);
    if (loud.signal.aborted)
      throw new ToolFailure(
        'output',
        `${program} said more than ${String(maxCharacters)} characters`,
      );
    if (inputFailure !== undefined && code === 0) throw inputFailure;
    if (signal !== null) {
      throw new ToolFailure('signal', `${program} was ended by ${signal}: ${lastLine(stderr())}`);
    }
    return { code: code ?? -1, stdout: stdout(), stderr: stderr() };
  } catch (error) {
    if (!isSpawnError(error)) throw error;
    const cause = causeOf(error);
    throw new ToolFailure('missing', `${program} cannot be run: ${cause}`, { cause: error });
  } finally {
    clearTimeout(timer);
    kill();
  }
}

/** What it has started, and leaves running, would hold its output open for as long as it likes. */
function leaveBehind({ pid, stdout, stderr }: ChildProcessWithoutNullStreams): void {
  killGroup(pid);
  setTimeout(() => {
    stdout.destroy();
    stderr.destroy();
  }, LEFT_OPEN_MS).unref();
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** The last line that says something. */
function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? '';
}

/** @returns what the source of the input failed with; a program that stops reading is its own affair */
async function feed(
  stdin: NodeJS.WritableStream,
  input: AsyncIterable<Uint8Array> | string,
): Promise<Error | undefined> {
  const closed = new AbortController();
  stdin.on('error', () => {
    closed.abort();
  });
  try {
    const chunks = typeof input === 'string' ? [input] : input;
    for await (const chunk of chunks) {
      if (closed.signal.aborted) break;
      if (stdin.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        stdin.once('drain', resolve).once('error', resolve).once('close', resolve);
      });
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    stdin.end();
  }
}

function kept(
  stream: NodeJS.ReadableStream,
  onLine?: ToolOptions['onLine'],
  onLength?: (characters: number) => void,
): () => string {
  let text = '';
  let line = '';
  let characters = 0;
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    characters += chunk.length;
    onLength?.(characters);
    text = (text + chunk).slice(-KEPT_CHARACTERS);
    if (onLine === undefined) return;
    const [first = '', ...more] = chunk.split('\n');
    line = (line + first).slice(-KEPT_CHARACTERS);
    for (const next of more) {
      onLine(line);
      line = next;
    }
  });
  return () => text;
}

function isSpawnError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && String(error.syscall).startsWith('spawn');
}
