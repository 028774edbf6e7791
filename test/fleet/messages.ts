/** What the processes of a fleet say to each other. */
import type { TokenSettings } from '../../agent/io/token/token.ts';
import type { Arguments } from './arguments.ts';
import type { Poll } from './device.ts';

/** Which devices a process has, and where their servers are. */
export interface Share {
  readonly first: number;
  readonly count: number;
  readonly options: Omit<Arguments, 'failOn'> & {
    readonly failOn: readonly (readonly [string, number])[];
  };
  /** Devices are spread over them, each always at the same one. */
  readonly gatewayUrls: readonly string[];
  readonly stateDir: string;
  readonly caPath: string;
  readonly roots: readonly [string, string];
  readonly stagingDirectory: string;
  /** Absent where no device has a key in a token. */
  readonly token?: TokenSettings;
}

export type ToWorker =
  | { readonly do: 'prepare'; readonly share: Share }
  | { readonly do: 'start'; readonly startedAtMs: number }
  | { readonly do: 'stop' };

export type FromWorker =
  | { readonly is: 'prepared'; readonly ms: number }
  | { readonly is: 'polls'; readonly polls: readonly Poll[]; readonly usage: Usage }
  | { readonly is: 'stopped'; readonly images: Readonly<Record<string, number>> };

/** Of a process, since its devices began to poll. */
export interface Usage {
  readonly cpuMs: number;
  readonly residentBytes: number;
}
