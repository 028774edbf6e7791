/** Metrics in a file, read by who it is for: the textfile collector of Prometheus' node_exporter. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { get, type IncomingMessage, type RequestOptions } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { endChild } from '../support/end-child.ts';
import { pollNow } from '../support/poll-now.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

describe('metrics.textfile', () => {
  let world: World;
  let directory: string;
  let file: string;
  let running: ChildProcess | undefined;
  before(async () => {
    world = await openWorld('provisioned');
    directory = join(world.directory, 'textfile');
    mkdirSync(directory);
    file = join(directory, 'ota-agent.prom');
    world.device.configure({ metrics: { textfile: file } });
  });
  after(async () => {
    await ended();
    await world.close();
  });

  const ended = (): Promise<void> => endChild(running, 'SIGTERM');
  const body = async (options: RequestOptions): Promise<string> => {
    const [answer] = (await once(get(options), 'response')) as [IncomingMessage];
    let text = '';
    for await (const part of answer) text += String(part);
    return text;
  };
  const namesIn = (text: string): readonly string[] => text.match(/^# TYPE \S+/gmu) ?? [];

  test('is written by a cycle without a daemon, for every reader, whatever the umask is', async () => {
    const before = process.umask(0o077);
    try {
      const result = await world.device.agent(['once']);
      assert.equal(result.exit, 0, said(result));
    } finally {
      process.umask(before);
    }
    assert.equal(statSync(file).mode & 0o777, 0o644);
    assert.deepEqual(readdirSync(directory), ['ota-agent.prom']);
    const text = readFileSync(file, 'utf8');
    assert.match(text, /^ota_agent_cycles_total\{outcome="up-to-date"\} 1$/mu);
    assert.match(text, /^ota_agent_last_cycle_timestamp_seconds \d/mu);
  });

  test('has the metrics of the socket after every cycle of the daemon, and the collector takes them', async () => {
    rmSync(file);
    running = world.device.start(['run']);
    const counted = async (cycles: number): Promise<string> => {
      for (let attempt = 0; attempt < 300; attempt += 1) {
        const text = readdirSync(directory).includes('ota-agent.prom')
          ? readFileSync(file, 'utf8')
          : '';
        if (text.includes(`ota_agent_cycles_total{outcome="up-to-date"} ${String(cycles)}\n`))
          return text;
        await setTimeout(50);
      }
      return assert.fail(`no cycle ${String(cycles)}`);
    };
    await counted(1);
    await pollNow(world);
    const text = await counted(2);
    const socketPath = String(world.device.settings['api']?.['socket']);
    const served = await body({ socketPath, path: '/metrics' });
    const ours = namesIn(served).filter((line) => !line.startsWith('# TYPE process_'));
    assert.deepEqual(namesIn(text), ours);

    const collected = await collect();
    assert.match(collected, /^ota_agent_cycles_total\{outcome="up-to-date"\} 2$/mu);
    assert.match(collected, /^node_textfile_scrape_error 0$/mu);
  });

  test('a link that others of the group have put there is not followed', async () => {
    await ended();
    const victim = join(world.directory, 'victim');
    writeFileSync(victim, 'of the agent');
    symlinkSync(victim, `${file}.new`);
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    assert.equal(readFileSync(victim, 'utf8'), 'of the agent');
    assert.match(
      readFileSync(file, 'utf8'),
      /^ota_agent_cycles_total\{outcome="up-to-date"\} 1$/mu,
    );
  });

  test('a file that cannot be written is a warning, and the cycle is as good as without', async () => {
    await ended();
    rmSync(directory, { recursive: true });
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    assert.match(result.stderr, /metrics\.textfile cannot be written path=\S+ cause="ENOENT/u);
  });

  test('a name that no collector reads is refused with the configuration', async () => {
    world.device.configure({ metrics: { textfile: join(directory, 'ota-agent.txt') } });
    const result = await world.device.agent(['config', 'check']);
    assert.equal(result.exit, 2, said(result));
    assert.equal((result.json['details'] as Record<string, unknown>)['key'], 'metrics.textfile');
  });

  /** What Prometheus gets of node_exporter. */
  async function collect(): Promise<string> {
    const collector = ['--collector.disable-defaults', '--collector.textfile'];
    const exporter = spawn(
      'prometheus-node-exporter',
      [
        ...collector,
        `--collector.textfile.directory=${directory}`,
        '--web.listen-address=127.0.0.1:0',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const exited = once(exporter, 'exit');
    try {
      let log = '';
      for await (const part of exporter.stderr) {
        log += String(part);
        const port = /address=127\.0\.0\.1:(\d+)/u.exec(log)?.[1];
        if (port !== undefined) return await body({ port, host: '127.0.0.1', path: '/metrics' });
      }
      return assert.fail(log);
    } finally {
      exporter.kill('SIGKILL');
      await exited;
    }
  }
});
