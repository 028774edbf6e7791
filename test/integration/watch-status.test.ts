/** `status --watch`: what a terminal, a pipe and a program are shown. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';

import { progressLine, watchStatus } from '../../agent/commands/watch-status.ts';
import { EventHub } from '../../agent/io/api/event-hub.ts';
import { Observed } from '../../agent/io/api/observed.ts';
import { serveApi } from '../../agent/io/api/server.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const ignore = (): undefined => undefined;
const MIB = 1024 ** 2;

/** What is shown of a download of 40 MiB in four steps of a second, until the daemon ends. */
async function shown(how: { readonly isTTY: boolean; readonly isJson: boolean }): Promise<string> {
  const directory = temporaryDirectory('watch');
  try {
    const socket = join(directory.path, 'api.sock');
    const hub = new EventHub();
    let nowMs = 0;
    const silent = { transition: ignore, progress: ignore, refused: ignore };
    const observed = new Observed(silent, hub, () => nowMs);
    const nothing = (): Promise<never> => Promise.reject(new Error('not asked here'));
    const api = await serveApi({ socket, group: undefined, hub, metrics: nothing, ask: nothing });
    const stream = Object.assign(new PassThrough(), { isTTY: how.isTTY });
    const all = text(stream);
    const listening = Promise.withResolvers<undefined>();
    const add = hub.add.bind(hub);
    hub.add = (response) => {
      const isAdded = add(response);
      listening.resolve(undefined);
      return isAdded;
    };
    const first = { exit: 0, json: { state: 'idle' }, lines: ['state idle'] };
    const out = stream as unknown as NodeJS.WriteStream;
    const watching = watchStatus({ socket, isJson: how.isJson, first }, out);
    await listening.promise;
    observed.transition('idle', 'downloading', {});
    for (let step = 0; step <= 4; step += 1) {
      observed.progress('download', 'a\u001b[2J.img', step * 10 * MIB, 40 * MIB);
      nowMs += 1000;
    }
    observed.transition('downloading', 'writing', {});
    await api.close();
    assert.equal((await watching).exit, 0);
    stream.end();
    return await all;
  } finally {
    directory.remove();
  }
}

test('on a terminal progress is one line that is written over, with rate and time left', async () => {
  const lines = (await shown({ isTTY: true, isJson: false })).split('\n');
  assert.deepEqual(lines.slice(0, 2), ['state idle', 'transition from=idle to=downloading']);
  const [, ...steps] = (lines[2] ?? '').split('\r\u001b[K');
  assert.deepEqual(steps.slice(0, 3), [
    'download a\\u{1b}[2J.img 0.0 of 40.0 MiB, 0 %, 0.0 MiB/s',
    'download a\\u{1b}[2J.img 10.0 of 40.0 MiB, 25 %, 10.0 MiB/s, 3 s left',
    'download a\\u{1b}[2J.img 20.0 of 40.0 MiB, 50 %, 10.0 MiB/s, 2 s left',
  ]);
  assert.equal(lines[3], 'transition from=downloading to=writing');
});

test('elsewhere every tenth of the way is a line, and a name steers nothing', async () => {
  const shownText = await shown({ isTTY: false, isJson: false });
  assert.equal(shownText.match(/^download /gmu)?.length, 5);
  assert.ok(!shownText.includes('\u001b'));
});

test('for programs every event is a line of JSON', async () => {
  const lines = (await shown({ isTTY: false, isJson: true })).trim().split('\n');
  const events = lines.map((line) => (JSON.parse(line) as { event: string }).event);
  const progress = Array.from({ length: 5 }, () => 'progress');
  assert.deepEqual(events, ['status', 'transition', ...progress, 'transition']);
});

test('hours and minutes are said as such, and what nobody knows is left out', () => {
  const progress = { phase: 'install', filename: 'f', doneBytes: MIB, bytesPerSecond: MIB };
  const line = (totalBytes: number, secondsLeft: number | null): string =>
    progressLine({ ...progress, totalBytes, secondsLeft });
  assert.equal(line(0, null), 'install f 1.0 MiB, 1.0 MiB/s');
  assert.match(line(2 * MIB, 61), /1 min 1 s left$/u);
  assert.match(line(2 * MIB, 7320), /2 h 2 min left$/u);
});

test('without a daemon there is nothing to watch', async () => {
  const first = { exit: 0, json: {}, lines: [] };
  const watching = watchStatus(
    { socket: '/nowhere/api.sock', isJson: false, first },
    process.stdout,
  );
  await rejectsCode(watching, 'USAGE', {
    what: 'no daemon runs that could be watched',
    remedy: 'systemctl start ota-agent; without --watch, status needs none',
  });
});
