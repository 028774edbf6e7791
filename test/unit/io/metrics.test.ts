/** Metrics, read by who they are for. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

import { OtaError } from '../../../agent/errors.ts';
import { EventHub } from '../../../agent/io/api/event-hub.ts';
import { metricsText } from '../../../agent/io/api/metrics.ts';
import { Observed } from '../../../agent/io/api/observed.ts';

const ignore = (): undefined => undefined;
const PROGRAM = `
import json, sys
from prometheus_client.parser import text_string_to_metric_families as read
families = read(sys.stdin.read())
print(json.dumps([[f.name, f.type, s.name, s.labels, s.value] for f in families for s in f.samples]))`;

test('Prometheus’ own parser reads the metrics, and finds in them what was counted', () => {
  const silent = { transition: ignore, progress: ignore, refused: ignore };
  const observed = new Observed(silent, new EventHub(), () => 0);
  observed.progress('download', 'a.img', 0, 100);
  observed.progress('download', 'a.img', 60, 100);
  observed.refused(new OtaError('USAGE', { what: 'w', remedy: 'r' }));
  observed.cycleEnded('up-to-date');
  observed.progress('download', 'a.img', 60, 100);
  const readings = {
    state: 'idle',
    nextPollAt: 1_700_000_000_000,
    lastCycleAt: undefined,
    refusal: 'METADATA_EXPIRED',
    warnings: 1,
    progress: observed.progressNow,
    counts: observed.counts,
  };
  const usage = { residentBytes: 3e6, cpuSeconds: 1.5 };
  const input = metricsText('1.2.3"\\', readings, usage);
  const out = execFileSync('/usr/bin/python3', ['-c', PROGRAM], { input, encoding: 'utf8' });
  const read = JSON.parse(out) as [string, string, string, Record<string, string>, number][];
  const value = (name: string): unknown =>
    read
      .filter(([, , sample]) => sample === name || sample === `ota_agent_${name}`)
      .map(([, type, , labels, at]) => [type, labels, at]);
  assert.deepEqual(value('info'), [['gauge', { version: '1.2.3"\\' }, 1]]);
  assert.deepEqual(value('metadata_refused'), [['gauge', { code: 'METADATA_EXPIRED' }, 1]]);
  assert.deepEqual(value('downloaded_bytes_total'), [['counter', {}, 60]]);
  assert.deepEqual(value('refusals_total'), [['counter', { code: 'USAGE' }, 1]]);
  assert.deepEqual(value('cycles_total'), [['counter', { outcome: 'up-to-date' }, 1]]);
  assert.deepEqual(value('progress_ratio'), [['gauge', { phase: 'download' }, 0.6]]);
  assert.deepEqual(value('next_poll_timestamp_seconds'), [['gauge', {}, 1_700_000_000]]);
  assert.deepEqual(value('process_cpu_seconds_total'), [['counter', {}, 1.5]]);
  assert.deepEqual(value('last_cycle_timestamp_seconds'), []);
});
