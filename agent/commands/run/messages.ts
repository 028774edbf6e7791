/** What the process that waits and the process that works say to each other: structured clones. */
import type { LoadedSettings } from '../../config-problem.ts';
import type { Wait } from '../../cycle/daemon.ts';
import type { SeenMedia } from '../../cycle/pick-up.ts';
import type { ApiAnswer, ApiQuestion } from '../../io/api/answer.ts';
import type { Readings, Usage } from '../../io/api/metrics.ts';
import type { Facts } from '../../io/log-fields.ts';
import type { LeftSessions } from '../../io/tls-tickets.ts';
import type { CommandResult } from '../result.ts';
import type { Remembered } from '../serve-api.ts';

/** The worker's first message. */
export interface Beginning {
  readonly config: readonly string[];
  /** What the worker before this one has left; absent for the first. */
  readonly left?: Left;
}

/** All of the daemon that is not on disk, while no worker is there. */
export interface Left {
  /** Read at the start of the service, and not again: a file that is being edited ends no daemon. */
  readonly loaded: LoadedSettings;
  readonly wait: Wait;
  readonly remembered: Remembered;
  readonly media: SeenMedia;
  readonly sessions: LeftSessions | undefined;
}

/** What a worker leaves when it goes, and what is answered until the next one is there. */
export interface Rest extends Omit<Left, 'loaded'> {
  readonly status: ApiAnswer;
  readonly readings: Readings;
  readonly usage: Usage;
}

export type Question =
  | { readonly ask: 'api'; readonly question: ApiQuestion }
  | { readonly ask: 'readings' }
  /** Whether it makes progress: one that hangs does not answer. */
  | { readonly ask: 'alive' };

export interface Replies {
  readonly api: ApiAnswer;
  readonly readings: { readonly readings: Readings; readonly usage: Usage };
  readonly alive: boolean;
}

/** What the process that waits can answer by itself. */
export function isStatus({ method, url }: ApiQuestion): boolean {
  return method === 'GET' && url === '/v1/status';
}

export type Reply = Replies[keyof Replies];

export type ToWorker =
  | { readonly say: 'begin'; readonly beginning: Beginning }
  /** The lock is held; and then: the socket is there and systemd knows. */
  | { readonly say: 'go on' }
  | { readonly say: 'question'; readonly id: number; readonly question: Question };

export type FromWorker =
  | { readonly say: 'configured'; readonly loaded: LoadedSettings }
  | { readonly say: 'ready' }
  | { readonly say: 'status'; readonly text: string }
  | { readonly say: 'event'; readonly event: string; readonly facts: Facts }
  | { readonly say: 'reply'; readonly id: number; readonly reply: Reply }
  | { readonly say: 'rest'; readonly rest: Rest }
  | { readonly say: 'failed'; readonly result: CommandResult };
