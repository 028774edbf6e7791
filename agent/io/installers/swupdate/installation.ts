/**
 * One installation, or a rehearsal of it, by a running SWUpdate.
 *
 * Our own client and not `swupdate-client`, which leaves dry runs to the daemon's default, loses the
 * reason when the daemon stops reading, can wait for ever, and takes the last installation's result
 * for ours when it asks too early.
 */
import { open } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import { readBytes } from '../../image-file.ts';
import {
  answerText,
  installRequest,
  MESSAGE,
  notificationOf,
  question,
  RUN,
  STATUS,
  typeOf,
  type Selection,
} from './control-messages.ts';
import { ControlConnection, type Daemon } from './control-socket.ts';

export interface Installation {
  readonly stagedPath: string;
  readonly lengthBytes: number;
  readonly selection: Selection;
  readonly run: keyof typeof RUN;
  /** Bytes that the daemon has taken. */
  readonly progress: (doneBytes: number) => void;
}

const BUSY_MS = 250;
const BUSY_TRIES = 80;
/** The daemon says that it is idle an instant before it waits for the next request. */
const SETTLE_MS = 50;
const KEPT_ERRORS = 5;

/**
 * Streams the image to the daemon and waits until it has succeeded.
 *
 * @throws Error with the daemon's own words if it refuses the image, fails, ends or hangs
 */
export async function runInstallation(what: Installation, daemon: Daemon): Promise<void> {
  const data = await request(what, daemon);
  const watch = await ControlConnection.open(daemon).catch((error: unknown) => {
    data.close();
    throw error;
  });
  const silence = new Silence(daemon.quietMs, () => {
    data.close();
    watch.close();
  });
  try {
    // After the request was accepted: what the daemon said of earlier ones is gone then.
    await watch.ask(question(MESSAGE.notifyStream));
    const [outcome] = await Promise.all([follow(watch, silence), feed(data.socket, what, silence)]);
    if (outcome.succeeded) return;
    throw new Error(`SWUpdate refused the image: ${outcome.reason}`);
  } finally {
    silence.end();
    data.close();
    watch.close();
  }
}

/** Ends what is silent for too long; each sign of life begins a new wait. */
class Silence {
  readonly #timer: NodeJS.Timeout;
  readonly quietMs: number;
  broken = false;

  constructor(quietMs: number, stop: () => void) {
    this.quietMs = quietMs;
    this.#timer = setTimeout(() => {
      this.broken = true;
      stop();
    }, quietMs);
  }

  heard(): void {
    this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

async function request(
  { selection, run }: Installation,
  daemon: Daemon,
): Promise<ControlConnection> {
  for (let tries = 1; ; tries += 1) {
    const connection = await ControlConnection.open(daemon);
    try {
      const answer = await connection.ask(installRequest(selection, RUN[run]));
      if (typeOf(answer) === MESSAGE.accepted) return connection;
      connection.close();
      const text = answerText(answer);
      const { set, mode } = selection;
      if (text === '') {
        throw new Error(
          `SWUpdate does not accept the software set ${set} with mode ${mode}: start its daemon with -q ${set},${mode}`,
        );
      }
      if (tries === BUSY_TRIES) throw new Error(`SWUpdate refused the request: ${text}`);
    } catch (error) {
      connection.close();
      throw error;
    }
    await sleep(BUSY_MS);
  }
}

/** A daemon that stops reading has decided: why, it says elsewhere. */
async function feed(socket: Socket, what: Installation, silence: Silence): Promise<void> {
  const file = await open(what.stagedPath, 'r');
  try {
    let doneBytes = 0;
    for await (const chunk of readBytes(file, what.lengthBytes)) {
      // Waits until it was written or cannot be: the next read uses the same memory.
      const taken = await new Promise<boolean>((resolve) => {
        socket.write(chunk, (error) => {
          resolve(!error);
        });
      });
      if (!taken) return;
      silence.heard();
      doneBytes += chunk.byteLength;
      what.progress(doneBytes);
    }
    socket.end();
  } finally {
    await file.close();
  }
}

/** Success is what the daemon says of this installation, between its start and its rest. */
async function follow(
  watch: ControlConnection,
  silence: Silence,
): Promise<{ succeeded: boolean; reason: string }> {
  const errors: string[] = [];
  let started = false;
  let succeeded = false;
  for (;;) {
    const message = await watch.next();
    if (message === undefined) throw ended(silence);
    silence.heard();
    const { status, isError, text } = notificationOf(message);
    started ||= status === STATUS.started;
    if (!started) continue;
    succeeded ||= status === STATUS.success;
    if (isError && errors.length < KEPT_ERRORS) errors.push(text);
    if (status !== STATUS.idle) continue;
    await sleep(SETTLE_MS);
    return { succeeded, reason: errors.join('; ') };
  }
}

function ended({ broken, quietMs }: Silence): Error {
  if (!broken) return new Error('SWUpdate ended during the installation: restart its daemon');
  const seconds = String(quietMs / 1000);
  return new Error(
    `SWUpdate was silent for ${seconds} s during the installation: restart its daemon`,
  );
}
