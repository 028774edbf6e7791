/** What a run came to; pure. */
import type { CountedRollout } from '../director/control/rollouts.ts';
import type { Arguments } from './arguments.ts';
import type { Costs } from './reporter.ts';
import type { Latencies, Tally } from './tally.ts';

/** When what happened, in simulated minutes since the start. */
export interface Marks {
  readonly away?: { readonly fromMinute: number; readonly toMinute: number };
  readonly overAtMinute: number;
  readonly endedAtMinute: number;
}

export interface Summary {
  readonly devices: number;
  readonly polls: number;
  readonly rollout: { readonly state: string; readonly succeeded: number; readonly failed: number };
  /** How many devices run which image, as they say themselves. */
  readonly images: Readonly<Record<string, number>>;
  readonly steadyPerMinute: number;
  readonly outage?: {
    readonly minutes: number;
    readonly peakPerMinute: number;
    /** Over how many minutes. */
    readonly overMinutes: number;
    /** After the servers were back. */
    readonly peakAfterMinutes: number;
    readonly ratio: number;
    /** Attempts that found no server. */
    readonly refused: number;
  };
  readonly latencies: Latencies;
  /** How often cycles ended badly, by what they came to. */
  readonly failures: Readonly<Record<string, number>>;
  readonly perPoll: {
    readonly serverCpuMs: number;
    readonly databaseCpuMs: number;
    readonly agentCpuMs: number;
  };
  readonly realSeconds: number;
  readonly residentMebibytes: number;
}

interface Facts {
  readonly options: Arguments;
  readonly marks: Marks;
  readonly tally: Tally;
  readonly rollout: CountedRollout | undefined;
  readonly images: ReadonlyMap<string, number>;
  readonly costs: Costs;
}

export function summaryOf({ options, marks, tally, rollout, images, costs }: Facts): Summary {
  const end = Math.floor(marks.endedAtMinute);
  const all = tally.between(0, end + 1);
  const { away } = marks;
  const undisturbed = tally.between(0, Math.floor(away?.fromMinute ?? end));
  const steadyPerMinute = undisturbed.polls / Math.max(1, Math.floor(away?.fromMinute ?? end));
  const counts = rollout?.counts ?? [];
  const sum = (state: 'succeeded' | 'failed'): number =>
    counts.reduce((total, phase) => total + phase[state], 0);
  return {
    devices: options.devices,
    polls: all.polls,
    rollout: {
      state: rollout?.state ?? 'none',
      succeeded: sum('succeeded'),
      failed: sum('failed'),
    },
    images: Object.fromEntries(images),
    steadyPerMinute,
    ...(away === undefined ? {} : { outage: outageOf(away, end, tally, steadyPerMinute) }),
    latencies: all.latencies,
    failures: all.failures,
    perPoll: {
      serverCpuMs: costs.serverCpuMs / all.polls,
      databaseCpuMs: costs.databaseCpuMs / all.polls,
      agentCpuMs: costs.fleet.cpuMs / all.polls,
    },
    realSeconds: costs.realMs / 1000,
    residentMebibytes: costs.fleet.residentBytes / 1024 ** 2,
  };
}

/** In a minute of a small fleet chance decides how many there are. */
const TELLING_POLLS = 50;

/** The minute in which the servers came back is only a part of one, and counts. */
function outageOf(
  { fromMinute, toMinute }: NonNullable<Marks['away']>,
  end: number,
  tally: Tally,
  steadyPerMinute: number,
): NonNullable<Summary['outage']> {
  const back = Math.floor(toMinute);
  const overMinutes = Math.max(1, Math.ceil(TELLING_POLLS / steadyPerMinute));
  const peak = tally.peak(back, end, overMinutes);
  return {
    minutes: toMinute - fromMinute,
    peakPerMinute: peak.perMinute,
    overMinutes,
    peakAfterMinutes: peak.minute - back,
    ratio: peak.perMinute / steadyPerMinute,
    refused: tally.between(Math.floor(fromMinute), back + 1).refused,
  };
}

/** For people. */
export function summaryLines(summary: Summary): readonly string[] {
  const { rollout, outage, latencies, perPoll } = summary;
  const images = Object.entries(summary.images).map(
    ([image, count]) => `${image} ${String(count)}`,
  );
  const failures = Object.entries(summary.failures).map(
    ([code, count]) => `${code} ${String(count)}`,
  );
  const ms = (value: number): string => `${value.toFixed(1)} ms`;
  return [
    `rollout ${rollout.state}: ${String(rollout.succeeded)} succeeded, ${String(rollout.failed)} failed of ${String(summary.devices)} devices; they run ${images.join(', ')}`,
    `polls: ${String(summary.polls)}, ${summary.steadyPerMinute.toFixed(1)} a minute before the outage`,
    outage === undefined
      ? 'no outage'
      : `outage of ${outage.minutes.toFixed(1)} min: ${String(outage.refused)} attempts refused; busiest ${String(outage.overMinutes)} min afterwards ${outage.peakPerMinute.toFixed(1)} polls a minute, ${String(outage.peakAfterMinutes)} min after the servers came back: ${outage.ratio.toFixed(2)} times the steady rate`,
    `cycles that failed: ${failures.length === 0 ? 'none' : failures.join(', ')}`,
    `latency of a poll (real): p50 ${ms(latencies.p50)}, p95 ${ms(latencies.p95)}, p99 ${ms(latencies.p99)}`,
    `processor for a poll: servers ${ms(perPoll.serverCpuMs)}, database ${ms(perPoll.databaseCpuMs)}, agent ${ms(perPoll.agentCpuMs)}`,
    `${summary.realSeconds.toFixed(0)} s of real time, ${summary.residentMebibytes.toFixed(0)} MiB resident in the processes of the fleet`,
  ];
}
