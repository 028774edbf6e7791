/** A shell that is typed into, one command after the other, as a person does. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';

export interface TypedAnswer {
  readonly exit: number;
  /** Of both streams, as on a screen. */
  readonly output: string;
}

const MARK = 'ota-agent-terminal';
const ENDED = new RegExp(`^([^]*)\n${MARK} (\\d+)\n$`, 'u');

export class TypedShell {
  readonly #shell: ChildProcessWithoutNullStreams;
  #screen = '';
  #look: () => void = () => undefined;

  /** @param shell - reads commands from its standard input */
  constructor(shell: ChildProcessWithoutNullStreams) {
    this.#shell = shell;
    for (const stream of [shell.stdout, shell.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#screen += chunk.toString();
        this.#look();
      });
    }
    shell.stdin.on('error', () => undefined);
    shell.on('exit', () => {
      this.#look();
    });
  }

  /**
   * Types a command and waits for its end.
   *
   * @param isEnough - of what was printed: for a command that goes on running
   * @throws Error if neither happens in time, or the shell ends
   */
  async type(
    command: string,
    timeoutMs: number,
    isEnough: (output: string) => boolean = () => false,
  ): Promise<TypedAnswer> {
    this.#screen = '';
    const answered = Promise.withResolvers<TypedAnswer>();
    const fail = (why: string): void => {
      answered.reject(new Error(`${why}: ${command}\n${this.#screen}`));
    };
    this.#look = () => {
      const [, output, exit] = ENDED.exec(this.#screen) ?? [];
      if (output !== undefined) answered.resolve({ exit: Number(exit), output });
      else if (isEnough(this.#screen)) answered.resolve({ exit: 0, output: this.#screen });
      else if (this.#shell.exitCode !== null) fail('the shell has ended');
    };
    const timer = setTimeout(fail, timeoutMs, 'no end');
    this.#shell.stdin.write(`{ ${command}\n} </dev/null 2>&1\nprintf '\\n${MARK} %d\\n' $?\n`);
    return answered.promise.finally(() => {
      clearTimeout(timer);
    });
  }
}
