/** The PIN is nowhere: every byte that the agent leaves anywhere is searched for it. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { collect, type AgentResult } from '../support/device.ts';
import { faultyModule, faults } from '../support/faulty-module.ts';
import { listenToNotifications } from '../support/notify-listener.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

const AGENT = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');
const mark = (name: string): string => `${name}-${randomBytes(8).toString('hex')}`;
/** Every PIN that a test uses: right, wrong and never tried. */
const PINS = {
  user: mark('u'),
  so: mark('s'),
  wrong: mark('w'),
  inCredential: mark('c'),
  argument: mark('a'),
};

describe('the secrecy of the PIN', () => {
  let world: World;
  /** Where the temporary files of the agent go. */
  let temporary: string;
  let traces: string;
  /** Everything that a process said, and everything that was asked of a server. */
  const spoken: { readonly of: string; readonly text: string }[] = [];

  before(async () => {
    world = await openWorld('blank');
    temporary = join(world.directory, 'temporary');
    traces = join(world.directory, 'traces');
    for (const directory of [temporary, traces]) mkdirSync(directory);
    world.device.configure({ log: { level: 'debug', format: 'json' } });
    usePin(PINS.user);
    writeFileSync(join(world.device.options.directory, 'so-pin'), PINS.so);
  });
  after(() => world.close());

  const enrolSecret = (): string =>
    readFileSync(world.device.options.gateway.enrolSecretPath, 'utf8').trim();
  const pinFile = (): string => join(world.device.options.directory, 'pin');
  const usePin = (pin: string): void => {
    writeFileSync(pinFile(), `${pin}\n`);
  };

  /** The agent under strace, which sees every process that it starts, with arguments and environment. */
  const start = (args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess => {
    const trace = join(traces, `${String(spoken.length)}-${args.join('-').replaceAll('/', '-')}`);
    const strace = ['-f', '-qq', '-v', '-s', '65536', '-e', 'trace=execve', '-o', trace];
    const command = [process.execPath, AGENT, ...args, '--config', world.device.configPath];
    return spawn('strace', [...strace, ...command], {
      env: { ...process.env, ...world.tee.env, TMPDIR: temporary, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  };
  const agent = async (
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<AgentResult> => {
    const result = await collect(start([...args, '--json'], env));
    spoken.push({ of: args.join(' '), text: said(result) });
    return result;
  };
  const succeeds = async (args: readonly string[], env = {}): Promise<void> => {
    const result = await agent(args, env);
    assert.equal(result.exit, 0, said(result));
  };
  const fails = async (code: string, args: readonly string[], env = {}): Promise<void> => {
    const result = await agent(args, env);
    assert.equal(result.json['code'], code, said(result));
  };

  test('every command runs, well and badly', async () => {
    await succeeds(['provision']);
    for (const args of [['once'], ['check'], ['status'], ['history']]) await succeeds(args);
    await succeeds(['config', 'show']);
    await succeeds(['config', 'check']);

    usePin(PINS.wrong);
    for (const args of [['once'], ['check'], ['provision'], ['run']]) {
      await fails('TOKEN_PIN_INCORRECT', args);
    }
    usePin(PINS.user);
    await succeeds(['check']);

    const { module } = world.tee;
    world.device.configure({ token: { module: faultyModule() } });
    await fails('TOKEN_MODULE', ['once'], faults(module, 'C_GetSlotList', 'crash'));
    await fails('TOKEN_FAILED', ['once'], faults(module, 'C_Login', '0x05'));
    await agent(['once'], faults(module, 'C_Sign', 'crash'));
    world.device.configure({ token: { module, uri: `pkcs11:token=x?pin-value=${PINS.wrong}` } });
    await fails('CONFIG_INVALID', ['once']);
    world.device.configure({ token: { uri: 'pkcs11:token=elsewhere' } });
    await fails('TOKEN_ABSENT', ['check']);
    world.device.configure({ token: { uri: 'pkcs11:token=ota-agent' } });
  });

  test('the PIN of a systemd credential, and one in the environment, work as well', async () => {
    const credentials = join(world.directory, 'credentials');
    mkdirSync(credentials);
    world.device.configure({ token: { pin_file: undefined } });
    writeFileSync(join(credentials, 'pin'), PINS.inCredential);
    await fails('TOKEN_PIN_INCORRECT', ['check'], { CREDENTIALS_DIRECTORY: credentials });
    writeFileSync(join(credentials, 'pin'), PINS.user);
    await succeeds(['check'], { CREDENTIALS_DIRECTORY: credentials });
    rmSync(credentials, { recursive: true });
    const fromEnvironment = { OTA_AGENT_PIN: PINS.user };
    await succeeds(['check'], fromEnvironment);
    world.device.configure({ token: { isolation: 'p11-kit' } });
    await succeeds(['check'], { ...fromEnvironment, RUNTIME_DIRECTORY: temporary });
    world.device.configure({ token: { isolation: 'none' } });
    world.device.configure({ token: { pin_file: pinFile() } });
  });

  test('a daemon shows none while it runs, to those who ask it neither', async (t) => {
    const systemd = await listenToNotifications(t);
    const daemon = start(['run'], { NOTIFY_SOCKET: systemd.address, WATCHDOG_USEC: '400000' });
    const ended = collect(daemon);
    const stopped = once(daemon, 'exit');
    let running: readonly number[] = [];
    try {
      const idle = async (): Promise<boolean> =>
        typeof (await agent(['status'])).json['nextPollAt'] === 'string';
      while (!(await idle())) await setTimeout(50);
      running = childrenOf(daemon.pid ?? 0);
      assert.equal(running.length, 1, 'strace runs the agent');
      for (const pid of [...running, ...running.flatMap(childrenOf)]) {
        for (const name of ['cmdline', 'environ']) {
          const text = readProcess(pid, name);
          spoken.push({ of: `/proc/${String(pid)}/${name}`, text });
        }
      }
      const socket = join(world.device.options.directory, 'api.sock');
      for (const [method, path] of [
        ['GET', '/v1/status'],
        ['GET', '/v1/history'],
        ['GET', '/openapi.json'],
        ['POST', '/v1/check'],
        ['POST', '/v1/confirm'],
        ['POST', '/v1/rotate/cancel'],
        ['POST', '/v1/pause'],
        ['GET', '/metrics'],
      ] as const) {
        spoken.push({ of: path, text: await ask(socket, method, path) });
      }
      spoken.push({ of: '/v1/events', text: await eventsOfCycle(socket) });
      await unpackBundle();
      for (let messages = 0; messages < 4; messages += 1) {
        spoken.push({ of: 'sd_notify', text: await systemd.next() });
      }
    } finally {
      for (const pid of running) process.kill(pid, 'SIGTERM');
      await stopped;
    }
    spoken.push({ of: 'the daemon', text: said(await ended) });
  });

  /** What support is sent, while the daemon runs; it stays where files are searched. */
  const unpackBundle = async (): Promise<void> => {
    const archive = join(temporary, 'bundle.tar.gz');
    const unpacked = join(temporary, 'bundle');
    // Passwords stand where operators put them.
    const inhibitors = [['/usr/bin/true', '--password', PINS.argument]];
    world.device.configure({ update: { inhibitors } });
    await succeeds(['bundle', '--output', archive]);
    world.device.configure({ update: { inhibitors: undefined } });
    assert.equal(statSync(archive).mode & 0o777, 0o600);
    mkdirSync(unpacked);
    execFileSync('tar', ['-xzf', archive, '-C', unpacked]);
    const names = filesBelow(unpacked);
    for (const name of ['config.json', 'status.json', 'metrics.txt', 'director-root.json']) {
      assert.ok(
        names.some((path) => path.endsWith(name)),
        name,
      );
    }
    const config = readFileSync(join(unpacked, 'ota-agent-bundle', 'config.json'), 'utf8');
    assert.match(config, /\(2 arguments\)/);
    for (const path of names) spoken.push({ of: path, text: readFileSync(path, 'utf8') });
  };

  test('no PIN was said, asked, reported or shown', async () => {
    for (const path of ['/devices/device-1/manifests', '/devices/device-1/events', '/requests']) {
      const text = JSON.stringify(await world.director.control('GET', path));
      spoken.push({ of: path, text });
    }
    const everything = spoken.map(({ text }) => text).join('\n');
    assert.ok(everything.length > 10_000);
    assert.ok(everything.includes('device-1'), 'the search searches the wrong thing');
    const showing = spoken.filter(({ text }) => shows(Buffer.from(text)));
    assert.deepEqual(
      showing.map(({ of }) => of),
      [],
    );
    const [, password = ''] = enrolSecret().split(':');
    assert.ok(password.length > 8);
    const telling = spoken.filter(({ of, text }) => of !== '/requests' && text.includes(password));
    assert.deepEqual(
      telling.map(({ of }) => of),
      [],
      'the password for EST',
    );
  });

  test('no process that the agent started was told one', () => {
    const started = readdirSync(traces).flatMap((name) => {
      const [own = '', ...children] = readFileSync(join(traces, name), 'latin1')
        .split('\n')
        .filter((line) => line.includes('execve('));
      // Whoever chose the environment has put it there; no child may have it.
      return own.includes(`OTA_AGENT_PIN=${PINS.user}`) ? children : [own, ...children];
    });
    assert.ok(started.some((line) => line.includes('probe-module-main')));
    assert.ok(started.some((line) => line.includes('systemd-notify')));
    assert.ok(started.some((line) => line.includes('p11-kit-remote')));
    assert.deepEqual(
      started.filter((line) => shows(Buffer.from(line))),
      [],
    );
  });

  test('no file that was written holds one', () => {
    const files = [world.device.options.directory, temporary, join(world.directory, 'director')]
      .flatMap(filesBelow)
      .filter((path) => !/\/(?:so-)?pin$/u.test(path) && path !== world.device.configPath);
    assert.ok(files.some((path) => path.endsWith('refused-pins.json')));
    const database = files.find((path) => path.endsWith('ota-agent.db')) ?? '';
    assert.ok(readFileSync(database).includes('device-1'), 'the search searches the wrong thing');
    assert.deepEqual(
      files.filter((path) => shows(readFileSync(path))),
      [],
    );
    assert.ok(shows(readFileSync(pinFile())), 'the search finds nothing');
  });
});

/** What a listener is told of one cycle. */
async function eventsOfCycle(socketPath: string): Promise<string> {
  const request = httpRequest({ socketPath, path: '/v1/events' }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  await ask(socketPath, 'POST', '/v1/update');
  let text = '';
  for await (const part of response) {
    text += String(part);
    if (text.includes('event: cycle')) break;
  }
  return text;
}

/** As it is, or in a form that programs turn texts into. */
function shows(bytes: Buffer): boolean {
  return Object.values(PINS).some((pin) => {
    const text = Buffer.from(pin);
    // Base64 of what surrounds a text differs by its place; of three places one is ours.
    const base64 = [0, 1, 2].map((offset) =>
      Buffer.concat([Buffer.alloc(offset), text])
        .toString('base64')
        .slice(offset === 0 ? 0 : 4, -4),
    );
    const forms = [pin, text.toString('hex'), text.toString('hex').toUpperCase(), ...base64];
    const wide = Buffer.from(pin, 'utf16le');
    return bytes.includes(wide) || forms.some((form) => bytes.includes(form));
  });
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile());
}

function childrenOf(pid: number): number[] {
  return readProcess(pid, `task/${String(pid)}/children`)
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

/** Empty for a process that has just ended. */
function readProcess(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${String(pid)}/${name}`, 'latin1');
  } catch (error) {
    assert.ok(error instanceof Error && /^(ENOENT|ESRCH)/u.test(error.message));
    return '';
  }
}

async function ask(socketPath: string, method: string, path: string): Promise<string> {
  const request = httpRequest({ socketPath, method, path }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = JSON.stringify(response.headers);
  for await (const chunk of response) text += String(chunk);
  return text;
}
