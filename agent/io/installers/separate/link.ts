/** The way to the installer's service: one connection, one request at a time, closed when idle. */
import { connect } from 'node:net';
import { once } from 'node:events';

import type { Fields } from '../../../decode.ts';
import { causeOf, isOtaError, OtaError, type Repo } from '../../../errors.ts';
import type { OpenImage, Progress } from '../../../ports.ts';
import type { Target } from '../../../uptane/plan.ts';
import type { Answer } from '../../../uptane/verify.ts';
import { failureIn, failureMessage, messageIn, Wire } from './wire.ts';

/** Signed metadata, for the installer to verify. */
export type MetadataSource = (repo: Repo, file: string, maxBytes: number) => Promise<Answer>;

export interface Request {
  readonly do: string;
  readonly ecu: string;
  readonly target?: Target;
}

/** What the installer may ask for while it works. */
export interface Help {
  readonly open?: OpenImage;
  readonly progress?: Progress;
}

const IDLE_MS = 5000;

export class InstallerLink {
  readonly #socket: string;
  readonly #metadata: MetadataSource;
  #turn: Promise<unknown> = Promise.resolve();
  #wire: Wire | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(socket: string, metadata: MetadataSource) {
    this.#socket = socket;
    this.#metadata = metadata;
  }

  /**
   * @returns what the installer has answered
   * @throws OtaError INSTALL_FAILED if it cannot be reached; what it says, and what `open` throws
   */
  ask(request: Request, help: Help = {}): Promise<Fields> {
    const turn = this.#turn.then(() => this.#ask(request, help));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #ask(request: Request, help: Help): Promise<Fields> {
    clearTimeout(this.#idle);
    try {
      // It may have ended while nothing was asked of it: every step may be asked again.
      const answer = await this.#attempt(request, help);
      return (
        answer ?? (await this.#attempt(request, help)) ?? this.#refuse(request, 'it went away')
      );
    } finally {
      this.#wire?.hold(false);
      this.#idle = setTimeout(() => {
        this.#drop();
      }, IDLE_MS).unref();
    }
  }

  /** @returns `undefined` where an earlier connection had ended before this request */
  async #attempt(request: Request, help: Help): Promise<Fields | undefined> {
    const isKept = this.#wire !== undefined;
    const wire = this.#wire ?? (await this.#connect(request));
    this.#wire = wire;
    wire.hold(true);
    const exchange = new Exchange(wire, this.#metadata, help);
    try {
      return await exchange.run(request);
    } catch (error) {
      // What is still on its way would be taken for the answer to another request.
      this.#drop();
      if (isKept && !exchange.isAnswered) return undefined;
      if (isOtaError(error)) throw error;
      return this.#refuse(request, `it went away: ${causeOf(error)}`, error);
    }
  }

  async #connect(request: Request): Promise<Wire> {
    const socket = connect(this.#socket);
    try {
      await once(socket, 'connect');
      return new Wire(socket);
    } catch (error) {
      const remedy = 'systemctl enable --now ota-agent-installer.socket';
      return this.#refuse(request, `${causeOf(error)}; ${remedy}`, error);
    }
  }

  #drop(): void {
    this.#wire?.close();
    this.#wire = undefined;
  }

  #refuse({ ecu }: Request, why: string, error?: unknown): never {
    const cause = `the installer behind ${this.#socket}: ${why}`;
    throw new OtaError('INSTALL_FAILED', { installer: 'separate', ecu, cause }, { cause: error });
  }
}

/** One request, until it is answered. */
class Exchange {
  readonly #wire: Wire;
  readonly #metadata: MetadataSource;
  readonly #help: Help;
  #source: AsyncIterator<Uint8Array> | undefined;
  #own: { readonly error: unknown } | undefined;
  /** Anything at all came back. */
  isAnswered = false;

  constructor(wire: Wire, metadata: MetadataSource, help: Help) {
    this.#wire = wire;
    this.#metadata = metadata;
    this.#help = help;
  }

  async run(request: Request): Promise<Fields> {
    try {
      await this.#wire.send(request);
      for (;;) {
        const said = await this.#hear();
        if (said !== undefined) return said;
      }
    } finally {
      // Whoever stopped reading wants no more of it.
      void this.#source?.return?.().catch(() => undefined);
    }
  }

  async #hear(): Promise<Fields | undefined> {
    const frame = await this.#wire.receive();
    if (frame === undefined) throw new Error('the connection ended');
    this.isAnswered = true;
    const fields = messageIn(frame);
    switch (fields.string('say')) {
      case 'metadata':
        await this.#sendMetadata(fields);
        return undefined;
      case 'image':
        void this.#sendImage(fields.integer('offsetBytes', 0));
        return undefined;
      case 'progress':
        this.#help.progress?.(fields.integer('done', 0), fields.integer('total', 0));
        return undefined;
      case 'done':
        return fields;
      default:
        // What it asked for could not be had: that is the failure, and not that it was not given.
        if (this.#own !== undefined) throw this.#own.error;
        throw failureIn(fields);
    }
  }

  async #sendMetadata(fields: Fields): Promise<void> {
    const repo = fields.string('repo') === 'director' ? 'director' : 'image';
    const [file, maxBytes] = [fields.string('file'), fields.integer('maxBytes', 0)];
    let bytes: Answer;
    try {
      bytes = await this.#metadata(repo, file, maxBytes);
    } catch (error) {
      return this.#fail(error);
    }
    if (bytes === undefined) return this.#wire.send({ say: 'absent' });
    await this.#wire.sendBytes(bytes);
    await this.#wire.send({ say: 'end' });
  }

  /** While the installer may say at any time that it wants no more. */
  async #sendImage(offsetBytes: number): Promise<void> {
    const source = this.#help.open?.(offsetBytes)[Symbol.asyncIterator]();
    this.#source = source;
    try {
      for (;;) {
        const next = await source?.next().catch((error: unknown) => ({ error }));
        if (next !== undefined && 'error' in next) {
          await this.#fail(next.error);
          return;
        }
        if (next === undefined || next.done === true) {
          await this.#wire.send({ say: 'end' });
          return;
        }
        await this.#wire.sendBytes(next.value);
      }
    } catch {
      // It hung up; whoever listens hears of it.
    }
  }

  async #fail(error: unknown): Promise<void> {
    this.#own = { error };
    const told = isOtaError(error) ? error : new OtaError('BUG', { what: causeOf(error) });
    await this.#wire.send(failureMessage(told));
  }
}
