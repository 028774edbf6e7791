/** A line for each simulated minute. */
import type { Usage } from './messages.ts';
import type { Servers } from './servers.ts';
import type { SimulatedTime } from './simulated-time.ts';
import type { Minute, Tally } from './tally.ts';
import type { Workers } from './workers.ts';

export type Say = (line: string) => void;

/** Processor time since the fleet polls. */
export interface Costs {
  readonly realMs: number;
  readonly serverCpuMs: number;
  readonly databaseCpuMs: number;
  readonly fleet: Usage;
}

interface Parts {
  readonly time: SimulatedTime;
  readonly tally: Tally;
  readonly servers: Servers;
  readonly workers: Workers;
  readonly say: Say;
}

/** Polls that began in a minute end later, and are told of later still. */
const LATE_MS = 1500;
const LOOK_MS = 100;
const HEADING = [
  'minute',
  'polls',
  'refused',
  'updates',
  'p50 ms',
  'p95 ms',
  'p99 ms',
  'servers %',
  'database %',
  'failures',
];

export class Reporter {
  readonly #parts: Parts;
  readonly #startedMs = performance.now();
  readonly #before: Costs;
  #timer: NodeJS.Timeout | undefined;
  #next = 0;
  #last: Costs;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#before = this.#total();
    this.#last = this.#before;
  }

  begin(): void {
    this.#parts.say(HEADING.map((one) => one.padStart(10)).join(' '));
    this.#timer = setInterval(() => {
      this.#look();
    }, LOOK_MS);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  costs(): Costs {
    return difference(this.#total(), this.#before);
  }

  #look(): void {
    const { time, tally, say } = this.#parts;
    const told = (time.nowMs() - LATE_MS * time.compress) / 60_000;
    if (told < this.#next + 1) return;
    const now = this.#total();
    const costs = difference(now, this.#last);
    this.#last = now;
    // Several at once, where minutes are shorter than a look.
    while (told >= this.#next + 1) {
      say(line(this.#next, tally.minute(this.#next), costs));
      this.#next += 1;
    }
  }

  #total(): Costs {
    const { servers, workers } = this.#parts;
    return {
      realMs: performance.now() - this.#startedMs,
      serverCpuMs: servers.cpuMs(),
      databaseCpuMs: servers.databaseCpuMs(),
      fleet: workers.usage,
    };
  }
}

function difference(now: Costs, before: Costs): Costs {
  return {
    realMs: now.realMs - before.realMs,
    serverCpuMs: now.serverCpuMs - before.serverCpuMs,
    databaseCpuMs: now.databaseCpuMs - before.databaseCpuMs,
    fleet: { ...now.fleet, cpuMs: now.fleet.cpuMs - before.fleet.cpuMs },
  };
}

function line(minute: number, counted: Minute, costs: Costs): string {
  const { polls, refused, updates, latencies, failures } = counted;
  const percent = (ms: number): string => ((100 * ms) / costs.realMs).toFixed(0);
  const failed = Object.entries(failures).map(([code, count]) => `${code} ${String(count)}`);
  const figures = [
    ...[minute, polls, refused, updates].map(String),
    ...[latencies.p50, latencies.p95, latencies.p99].map((ms) => ms.toFixed(0)),
    percent(costs.serverCpuMs),
    percent(costs.databaseCpuMs),
  ];
  return [...figures.map((one) => one.padStart(10)), failed.join(', ')].join(' ').trimEnd();
}
