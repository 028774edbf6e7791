/** SIGTERM in every phase of an update: the daemon ends at once, and the next one goes on from there. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { endChild } from '../support/end-child.ts';
import { demandGone, demandStops, descendantsOf } from '../support/processes.ts';
import { DEVICE, openWorld, type World } from '../support/world.ts';

/** More than the agent gathers before it writes. */
const IMAGE_BYTES = 2_500_000;
const IMAGE = 'stopped.img';

/** Every program of the device: hangs where it is told to, and heeds no signal but SIGKILL. */
const PROGRAM = `#!/bin/sh
cd "$(dirname "$0")"
for verb; do :; done
echo "$verb" >> calls
if test "$(cat hang)" = "$verb"; then
  trap '' TERM INT HUP
  echo $$ > hung
  while :; do sleep 1; done
fi
digest() { printf '{"sha256":"%s"}\\n' "$(sha256sum < "$1" | cut -d' ' -f1)"; }
case $verb in
  describe) echo '{"reboot":false}' ;;
  write) cp "$OTA_IMAGE_PATH" next && digest next ;;
  activate) test ! -e next || mv next current ;;
  booted) test -e current || exit 64; digest current ;;
esac
`;

/** Between device and gateway; holds everything back while it is told to. */
class Way {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  isHeld = false;
  /** The device has said something since, and heard nothing. */
  isWaitedFor = false;

  constructor(port: number) {
    this.#server = createServer((device) => {
      const gateway = connect(port, '127.0.0.1');
      for (const [from, to] of [
        [device, gateway],
        [gateway, device],
      ] as const) {
        this.#open.add(from);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          this.#open.delete(from);
          to.destroy();
        });
        from.on('data', (bytes: Buffer) => {
          if (!this.isHeld) to.write(bytes);
          else this.isWaitedFor ||= from === device;
        });
      }
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  hold(): void {
    this.isHeld = true;
    this.isWaitedFor = false;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }
}

describe('a daemon that is told to stop', () => {
  let world: World;
  let way: Way;
  let daemon: ChildProcess | undefined;
  let said = '';
  const at = (name: string): string => join(world.directory, name);
  const content = randomBytes(IMAGE_BYTES);

  before(async () => {
    world = await openWorld('provisioned');
    const url = new URL(world.director.gatewayUrl);
    way = new Way(Number(url.port));
    url.port = String(await way.listen());
    const program = at('program.sh');
    writeFileSync(program, PROGRAM, { mode: 0o755 });
    hangAt('nothing');
    const unset = { slot_a: undefined, slot_b: undefined, marker: undefined };
    world.device.configure({
      gateway: { url: url.href },
      installer: { ...unset, booted_file: undefined, type: 'command', command: [program] },
      download: { max_rate: '1MiB' },
    });
    // Arrays of arrays, and tables that only a part of the update needs.
    const more = `[health]\ncommands = [[${JSON.stringify(program)}, "healthy"]]
[update]\ndownload_inhibitors = [[${JSON.stringify(program)}, "inhibits"]]\n`;
    writeFileSync(at('more.toml'), more);
    await world.offer(IMAGE, content);
  });
  afterEach(() => endChild(daemon, 'SIGKILL'));
  after(async () => {
    way.close();
    await world.close();
  });

  const hangAt = (verb: string): void => {
    rmSync(at('hung'), { force: true });
    writeFileSync(at('hang'), verb);
  };
  const calls = (verb: string): number =>
    readFileSync(at('calls'), 'utf8')
      .split('\n')
      .filter((line) => line === verb).length;

  const start = (): void => {
    said = '';
    daemon = world.device.start(['run', '--config', at('more.toml')]);
    daemon.stderr?.on('data', (text: Buffer) => (said += text.toString()));
  };
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    const deadline = performance.now() + 30_000;
    while (!holds()) {
      assert.equal(daemon?.exitCode, null, `ended before ${what}: ${said}`);
      assert.ok(performance.now() < deadline, `never happened: ${what}\n${said}`);
      await setTimeout(20);
    }
  };
  const stop = async (): Promise<readonly string[]> => {
    assert.ok(daemon !== undefined);
    return demandStops(daemon);
  };

  test('ends while the Director does not answer a poll', async () => {
    way.hold();
    start();
    await until('a request', () => way.isWaitedFor);
    await stop();
    way.isHeld = false;
  });

  const endsWhile = (verb: string): void => {
    test(`ends while ${verb} takes for ever, and ends what it has started`, async () => {
      hangAt(verb);
      start();
      await until(verb, () => existsSync(at('hung')));
      assert.match((await stop()).join('\n'), /program\.sh/u);
    });
  };

  for (const verb of ['inhibits', 'check']) endsWhile(verb);

  test('`once` ends at Ctrl-C, and what it has started with it', async () => {
    hangAt('check');
    const foreground = world.device.start(['once', '--config', at('more.toml')]);
    daemon = foreground;
    await until('check', () => existsSync(at('hung')));
    const started = descendantsOf(foreground.pid ?? 0);
    assert.ok(started.some(({ command }) => command.includes('program.sh')));
    const exited = once(foreground, 'exit');
    // As a terminal sends it: to all that are in its group.
    process.kill(-(foreground.pid ?? 0), 'SIGINT');
    assert.deepEqual(await exited, [null, 'SIGINT']);
    await demandGone(started);
  });

  test('ends in the middle of a download, and keeps what it has', async () => {
    hangAt('nothing');
    start();
    const staging = join(String(world.device.settings['storage']?.['path']), 'staging');
    await until(
      'a part',
      () =>
        existsSync(staging) &&
        readdirSync(staging).some((name) => statSync(join(staging, name)).size > 0),
    );
    await stop();
  });

  for (const verb of ['write', 'describe', 'activate', 'healthy', 'confirm']) endsWhile(verb);

  test('ends while the Director does not take the report of the end', async () => {
    hangAt('nothing');
    const before = calls('confirm');
    start();
    await until('confirm', () => calls('confirm') > before);
    way.hold();
    await until('the report', () => way.isWaitedFor);
    await stop();
    way.isHeld = false;
  });

  test('the next daemon has it installed, and reported, and the download has gone on where it was', async () => {
    start();
    await until('the report', () => said.includes('idle'));
    const outcome = async (): Promise<string | undefined> => {
      const device = await world.director.control('GET', `/devices/${DEVICE}`);
      return (device as { readonly assignment?: { readonly outcome: string } }).assignment?.outcome;
    };
    for (let attempt = 0; (await outcome()) !== 'done' && attempt < 200; attempt += 1)
      await setTimeout(50);
    assert.equal(await outcome(), 'done', said);
    await stop();
    assert.ok(readFileSync(at('current')).equals(content));
    const lines = (await world.director.control('GET', `/requests?device=${DEVICE}`)) as {
      readonly path: string;
      readonly status: number;
    }[];
    const images = lines.filter(({ path }) => path.endsWith(IMAGE)).map(({ status }) => status);
    // What came of the first is the way's affair; the second began where that had ended.
    assert.deepEqual([images.length, images.at(-1)], [2, 206]);
  });
});
