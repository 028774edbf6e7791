/** Metrics in the text format that Prometheus reads. */
import type { Counts, ProgressNow } from './observed.ts';

/** What is known now; instants in milliseconds since the epoch. */
export interface Readings {
  readonly state: string;
  readonly nextPollAt: number | undefined;
  readonly lastCycleAt: number | undefined;
  readonly refusal: string | undefined;
  /** How many the status shows. */
  readonly warnings: number;
  readonly progress: ProgressNow | undefined;
  readonly counts: Counts;
}

/** What the processes of the service cost, all together. */
export interface Usage {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
}

interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: readonly Sample[];
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/**
 * Source: Prometheus documentation, "Exposition formats", text-based format 0.0.4.
 *
 * @param usage - absent where whoever collects has metrics of its own process by the same names
 */
export function metricsText(version: string, readings: Readings, usage?: Usage): string {
  const ofUs = usage === undefined ? [] : ofProcess(usage);
  return [...ofAgent(version, readings), ...ofUs].map(metricText).join('');
}

function ofAgent(version: string, readings: Readings): readonly Metric[] {
  const { state, nextPollAt, lastCycleAt, refusal, warnings, progress, counts } = readings;
  return [
    gauge('info', 'Always 1; what runs', [[{ version }, 1]]),
    gauge('state', 'Always 1; where the update cycle is', [[{ state }, 1]]),
    gauge('next_poll_timestamp_seconds', 'When the next cycle is due', instant(nextPollAt)),
    gauge('last_cycle_timestamp_seconds', 'When the last cycle ended', instant(lastCycleAt)),
    gauge('metadata_refused', 'Whether the last verification was refused', [
      [refusal === undefined ? {} : { code: refusal }, refusal === undefined ? 0 : 1],
    ]),
    gauge('warnings', 'Warnings in the status', [[{}, warnings]]),
    counter('cycles_total', 'Cycles since the start, by how they ended', 'outcome', counts.cycles),
    counter('refusals_total', 'Failures since the start, by code', 'code', counts.refusals),
    {
      name: 'ota_agent_downloaded_bytes_total',
      type: 'counter',
      help: 'Bytes of images received since the start',
      samples: [[{}, counts.downloadedBytes]],
    },
    gauge(
      'progress_ratio',
      'How far the image is that is downloaded or installed now',
      progress === undefined || progress.totalBytes === 0
        ? []
        : [[{ phase: progress.phase }, progress.doneBytes / progress.totalBytes]],
    ),
  ];
}

/** @returns what this process costs */
export function ownUsage(): Usage {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6 };
}

function ofProcess({ residentBytes, cpuSeconds }: Usage): readonly Metric[] {
  const startedAt = Date.now() / 1000 - process.uptime();
  const own = (name: string, type: Metric['type'], help: string, value: number): Metric => {
    return { name: `process_${name}`, type, help, samples: [[{}, value]] };
  };
  return [
    own('resident_memory_bytes', 'gauge', 'Resident memory', residentBytes),
    own('cpu_seconds_total', 'counter', 'Processor time', cpuSeconds),
    own('start_time_seconds', 'gauge', 'Start, since the epoch', startedAt),
  ];
}

function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name: `ota_agent_${name}`, type: 'gauge', help, samples };
}

function counter(
  name: string,
  help: string,
  label: string,
  counts: ReadonlyMap<string, number>,
): Metric {
  const samples = [...counts].map(([value, count]): Sample => [{ [label]: value }, count]);
  return { name: `ota_agent_${name}`, type: 'counter', help, samples };
}

function instant(at: number | undefined): readonly Sample[] {
  return at === undefined ? [] : [[{}, at / 1000]];
}

function metricText({ name, type, help, samples }: Metric): string {
  const lines = samples.map(([labels, value]) => `${name}${labelText(labels)} ${String(value)}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replace(/\\/gu, '\\\\').replace(/"/gu, '\\"').replace(/\n/gu, '\\n');
}
