/** The worker's side of what it and the process that waits say to each other. */
import type { Beginning, FromWorker, Question, Reply, ToWorker } from './messages.ts';

export class Link {
  /** The first message. */
  readonly beginning: Promise<Beginning>;
  readonly #reply = Promise.withResolvers<(question: Question) => Promise<Reply>>();
  #goOn = Promise.withResolvers<undefined>();
  #isLeaving = false;

  constructor() {
    const beginning = Promise.withResolvers<Beginning>();
    this.beginning = beginning.promise;
    process.on('message', (message) => {
      const said = message as ToWorker;
      if (said.say === 'begin') beginning.resolve(said.beginning);
      else if (said.say === 'go on') this.#goOn.resolve(undefined);
      else void this.#answer(said);
    });
    process.once('disconnect', endAtOnce);
  }

  /** Tells, and waits until it is told to go on. */
  async tellAndWait(message: FromWorker): Promise<void> {
    this.tell(message);
    await this.#goOn.promise;
    this.#goOn = Promise.withResolvers();
  }

  tell(message: FromWorker): void {
    process.send?.(message, undefined, undefined, () => undefined);
  }

  /** From now on questions are answered, those that have come already first. */
  answerWith(reply: (question: Question) => Promise<Reply>): void {
    this.#reply.resolve(reply);
  }

  /** The last word. What is asked after it is for the next worker: it has to stay unanswered. */
  leave(message: FromWorker): void {
    this.#isLeaving = true;
    this.tell(message);
  }

  close(): void {
    process.off('disconnect', endAtOnce);
    if (process.connected) process.disconnect();
  }

  async #answer({ id, question }: Extract<ToWorker, { say: 'question' }>): Promise<void> {
    const reply = await this.#reply.promise;
    if (this.#isLeaving) return;
    this.tell({ say: 'reply', id, reply: await reply(question) });
  }
}

/** Whoever waited was killed: nothing may be done behind the back of the next one. */
function endAtOnce(): void {
  process.exit(1);
}
