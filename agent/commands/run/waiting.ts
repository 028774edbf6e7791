/**
 * The process that waits for the daemon: it has the API's socket, the lock of the storage and systemd's
 * ear, and a worker only while there is work.
 */
import { dirname } from 'node:path';

import type { LoadedSettings } from '../../config-problem.ts';
import { Refusal, refusalOf, type ApiAnswer, type ApiQuestion } from '../../io/api/answer.ts';
import { EventHub } from '../../io/api/event-hub.ts';
import { metricsText, ownUsage } from '../../io/api/metrics.ts';
import { serveApi, type Api } from '../../io/api/server.ts';
import { mkdirSync } from '../../io/lean-node.ts';
import { holdLog, lockService, type Lock } from '../../io/store/lock.ts';
import type { ServiceNotifier } from '../../io/systemd.ts';
import { VERSION } from '../../version.ts';
import type { CommandResult } from '../result.ts';
import { isStatus, type FromWorker, type Left, type Rest } from './messages.ts';
import { MediaWatch } from './media-watch.ts';
import { RestingTime } from './resting-time.ts';
import { Worker, type Ended } from './worker.ts';

/** While there is no worker. */
interface Resting {
  readonly said: Rest;
  readonly time: RestingTime;
  readonly watch: MediaWatch;
}

export class Waiting {
  readonly #config: readonly string[];
  readonly #notifier: ServiceNotifier;
  readonly #stop: AbortSignal;
  readonly #hub = new EventHub();
  #api: Api | undefined;
  #lock: Lock | undefined;
  #log: Lock | undefined;
  /** Read by the first worker. */
  #loaded: LoadedSettings | undefined;
  #worker: Worker | undefined;
  /** What the last worker has said before it went; absent once there is another. */
  #rest: Resting | undefined;
  /** How it all ends. */
  #end: CommandResult | Error | undefined;
  /** Processor time of the workers that have gone. */
  #spentSeconds = 0;

  constructor(config: readonly string[], notifier: ServiceNotifier, stop: AbortSignal) {
    this.#config = config;
    this.#notifier = notifier;
    this.#stop = stop;
  }

  /** @throws OtaError STORAGE_BUSY, STORAGE_FAILED, FILE_UNREADABLE if the socket cannot be made */
  async run(): Promise<CommandResult> {
    this.#stop.addEventListener('abort', () => {
      this.#end ??= STOPPED;
      this.#worker?.stop('SIGTERM');
      this.#rest?.time.end();
    });
    try {
      while (this.#end === undefined) {
        const worker = this.#hired();
        const ended = await worker.ended;
        this.#worker = undefined;
        if (this.#rest === undefined) this.#end ??= lost(ended);
        worker.leaveUnanswered();
        await this.#rest?.time.over;
      }
      if (this.#end instanceof Error) throw this.#end;
      return this.#end;
    } finally {
      this.#rest?.watch.end();
      await this.#notifier.stopping();
      await this.#api?.close();
      this.#log?.release();
      this.#lock?.release();
    }
  }

  /** The worker; another one where there is none. */
  #hired(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const left = this.#left();
    this.#rest?.time.end();
    this.#rest?.watch.end();
    this.#rest = undefined;
    const beginning = { config: this.#config, ...(left === undefined ? {} : { left }) };
    this.#worker = new Worker(beginning, (message) => {
      this.#told(message);
    });
    return this.#worker;
  }

  #left(): Left | undefined {
    if (this.#loaded === undefined || this.#rest === undefined) return undefined;
    const { said, time, watch } = this.#rest;
    const { remembered, sessions } = said;
    return { loaded: this.#loaded, wait: time.left, remembered, media: watch.seen, sessions };
  }

  #told(message: Exclude<FromWorker, { say: 'reply' }>): void {
    switch (message.say) {
      case 'configured':
        void this.#orFail(() => {
          this.#take(message.loaded);
        });
        break;
      case 'ready':
        void this.#orFail(() => this.#serve());
        break;
      case 'status':
        this.#notifier.status(message.text);
        break;
      case 'event':
        this.#hub.publish(message.event, message.facts);
        break;
      case 'rest':
        this.#restAfter(message.rest);
        break;
      case 'failed':
        this.#end ??= message.result;
    }
  }

  #restAfter(said: Rest): void {
    if (this.#loaded === undefined) return;
    const { offline } = this.#loaded.settings;
    const time = new RestingTime(said.wait);
    const watch = new MediaWatch(offline, said.media, () => {
      time.end();
    });
    this.#rest = { said, time, watch };
    this.#spentSeconds += said.usage.cpuSeconds;
  }

  async #orFail(act: () => void | Promise<void>): Promise<void> {
    try {
      await act();
      this.#worker?.goOn();
    } catch (error) {
      this.#end ??= error instanceof Error ? error : new Error(String(error));
      this.#worker?.stop('SIGTERM');
    }
  }

  #take(loaded: LoadedSettings): void {
    this.#lock = lockService(loaded.settings.storage.path);
    this.#loaded = loaded;
  }

  /** The first worker has proved that everything is there: from now on others may ask. */
  async #serve(): Promise<void> {
    if (this.#loaded === undefined) return;
    const { api, storage } = this.#loaded.settings;
    const { socket, group } = api;
    this.#log = holdLog(storage.path);
    mkdirSync(dirname(socket), { recursive: true });
    this.#api = await serveApi({
      socket,
      group,
      hub: this.#hub,
      metrics: () => this.#metrics(),
      ask: (question) => this.#ask(question),
    });
    await this.#notifier.ready();
    this.#notifier.startWatchdog(() => this.#isAlive());
  }

  async #isAlive(): Promise<boolean> {
    return (await this.#worker?.ask({ ask: 'alive' })) ?? true;
  }

  async #ask(question: ApiQuestion): Promise<ApiAnswer> {
    while (this.#end === undefined) {
      if (this.#rest !== undefined && isStatus(question)) return this.#rest.said.status;
      const answer = await this.#hired().ask({ ask: 'api', question });
      if (answer !== undefined) return answer;
    }
    return refusalOf(new Refusal(503, 'the daemon ends', 'ask again'));
  }

  async #metrics(): Promise<string> {
    const own = ownUsage();
    const now = this.#rest === undefined ? await this.#hired().ask({ ask: 'readings' }) : undefined;
    const readings = now?.readings ?? this.#rest?.said.readings;
    if (readings === undefined) throw new Refusal(503, 'the daemon ends', 'ask again');
    return metricsText(VERSION, readings, {
      residentBytes: own.residentBytes + (now?.usage.residentBytes ?? 0),
      cpuSeconds: own.cpuSeconds + this.#spentSeconds + (now?.usage.cpuSeconds ?? 0),
    });
  }
}

const STOPPED: CommandResult = { exit: 0, json: { outcome: 'stopped' }, lines: ['stopped'] };

/** A worker that ended without a word. */
function lost(ended: Ended): CommandResult {
  const what = `the process that works for the daemon ended with ${String(ended)}`;
  return {
    exit: typeof ended === 'number' && ended !== 0 ? ended : 1,
    json: { outcome: 'failed', code: 'BUG', details: { what } },
    lines: [what],
  };
}
