/**
 * What systemd is told about the daemon: ready, status, alive, stopping.
 *
 * Node.js has no datagram Unix sockets, so messages go through the `systemd-notify` program: a few
 * milliseconds each, and the unit needs `NotifyAccess=all`. The program stays until systemd has read
 * the message, because one from a process that is gone cannot be attributed to its unit.
 *
 * Source: sd_notify(3), systemd-notify(1), sd_watchdog_enabled(3).
 */
import { execFile } from 'node:child_process';

import { causeOf, OtaError } from '../errors.ts';

export interface ServiceNotifier {
  /**
   * The service has started.
   *
   * @throws OtaError FILE_UNREADABLE if systemd cannot be told: it would wait, then kill the service
   */
  ready(): Promise<void>;
  /** One line for `systemctl status`. Of lines that come faster than they can be sent, the last. */
  status(text: string): void;
  /** Tells systemd that the service is alive for as long as `isAlive` says so: it has to prove progress. */
  startWatchdog(isAlive: () => boolean | Promise<boolean>): void;
  /** The service is about to stop by itself; also stops the watchdog. Never rejects. */
  stopping(): Promise<void>;
}

const PROGRAM = 'systemd-notify';
const TIMEOUT_MS = 10_000;

/**
 * Does nothing where there is no service manager.
 *
 * @param env - the notification variables are taken out of it: `NotifyAccess=all` would let every
 *   program that an installer starts speak for the agent
 * @param onLost - told when a message that nobody waits for could not be sent
 */
export function openServiceNotifier(
  env: NodeJS.ProcessEnv,
  onLost: (error: Error) => void = (error) => {
    process.emitWarning(error);
  },
): ServiceNotifier {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: pid, PATH } = env;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) {
    Reflect.deleteProperty(env, name);
  }
  if (socket === undefined) return SILENT;
  const watched = pid === undefined || Number(pid) === process.pid;
  return new SystemdNotifier({
    env: { NOTIFY_SOCKET: socket, PATH: PATH ?? '/usr/bin:/bin' },
    watchdogMs: watched ? Number(usec ?? 0) / 1000 : 0,
    onLost,
  });
}

interface Options {
  readonly env: NodeJS.ProcessEnv;
  /** Longest time between two signs of life; 0 without a watchdog. */
  readonly watchdogMs: number;
  readonly onLost: (error: Error) => void;
}

const SILENT: ServiceNotifier = {
  ready: () => Promise.resolve(),
  status: () => undefined,
  startWatchdog: () => undefined,
  stopping: () => Promise.resolve(),
};

class SystemdNotifier implements ServiceNotifier {
  readonly #options: Options;
  #sent: Promise<void> = Promise.resolve();
  #status: string | undefined;
  #pinging = false;
  #watchdog: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  ready(): Promise<void> {
    return this.#send(() => 'READY=1');
  }

  status(text: string): void {
    const isQueued = this.#status !== undefined;
    // A line end would begin another variable: MAINPID=1, say, in a file name.
    this.#status = text.replace(/\p{Cc}+/gu, ' ');
    if (isQueued) return;
    void this.#sendUnawaited(() => {
      const latest = this.#status ?? '';
      this.#status = undefined;
      return `STATUS=${latest}`;
    });
  }

  startWatchdog(isAlive: () => boolean | Promise<boolean>): void {
    const { watchdogMs } = this.#options;
    if (!(watchdogMs > 0) || this.#watchdog !== undefined) return;
    this.#watchdog = setInterval(() => {
      const alive = isAlive();
      if (alive === false || this.#pinging) return;
      this.#pinging = true;
      void this.#ping(alive).finally(() => {
        this.#pinging = false;
      });
    }, watchdogMs / 2);
    this.#watchdog.unref();
  }

  async stopping(): Promise<void> {
    clearInterval(this.#watchdog);
    await this.#sendUnawaited(() => 'STOPPING=1');
  }

  async #ping(isAlive: boolean | Promise<boolean>): Promise<void> {
    if (await isAlive) await this.#sendUnawaited(() => 'WATCHDOG=1');
  }

  async #sendUnawaited(message: () => string): Promise<void> {
    try {
      await this.#send(message);
    } catch (error) {
      this.#options.onLost(error instanceof Error ? error : new Error(causeOf(error)));
    }
  }

  /** One after the other: two programs at once could overtake each other. */
  #send(message: () => string): Promise<void> {
    const sent = this.#sent.then(() => notify(message(), this.#options.env));
    this.#sent = sent.catch(() => undefined);
    return sent;
  }
}

async function notify(message: string, env: NodeJS.ProcessEnv): Promise<void> {
  try {
    await run(message, env);
  } catch (cause) {
    throw new OtaError(
      'FILE_UNREADABLE',
      {
        path: PROGRAM,
        what: 'program that notifies the service manager',
        cause: causeOf(cause),
        remedy: 'install systemd-notify, or start the agent without NOTIFY_SOCKET',
      },
      { cause },
    );
  }
}

/** Without `node:util`, which a daemon that waits has no other use for. */
function run(message: string, env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(PROGRAM, ['--', message], { env, timeout: TIMEOUT_MS }, (error, _, stderr) => {
      if (error === null) resolve();
      else
        reject(new Error(stderr.trim() === '' ? causeOf(error) : stderr.trim(), { cause: error }));
    });
  });
}
