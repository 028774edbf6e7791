/** No secret is anywhere: every byte that the agent leaves anywhere is searched for all of them. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { collect, type AgentResult } from '../support/device.ts';
import { faultyModule, faults } from '../support/faulty-module.ts';
import {
  ALL,
  ask,
  ASKED,
  childrenOf,
  eventsOfCycle,
  filesBelow,
  OTHERS,
  PINS,
  readProcess,
  receivedBy,
  shows,
  SIGNED,
} from '../support/marked-secrets.ts';
import { listenToNotifications } from '../support/notify-listener.ts';
import { DEVICE, describe as said, HARDWARE, openWorld, type World } from '../support/world.ts';

const AGENT = join(import.meta.dirname, '../../agent/main.ts');
describe('no secret in any output', () => {
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
    const textfile = join(temporary, 'metrics.prom');
    const telemetry = { system_info: true, network: true, packages: true };
    const log = { level: 'debug', format: 'json' };
    world.device.configure({ log, metrics: { textfile }, telemetry });
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
      env: {
        ...process.env,
        ...world.tee.env,
        TMPDIR: temporary,
        SITE_TOKEN: OTHERS.environment,
        ...env,
      },
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
  /** Of what needs no look at its processes: strace takes its time. */
  const untraced = async (args: readonly string[]): Promise<AgentResult> => {
    const env = { TMPDIR: temporary, SITE_TOKEN: OTHERS.environment };
    const result = await world.device.agent(args, env);
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
    const enrolment = join(world.directory, 'wrong-secret');
    writeFileSync(enrolment, `${DEVICE}:${OTHERS.enrolmentPassword}`);
    const right = world.device.settings['provisioning']?.['est_secret_file'];
    world.device.configure({ provisioning: { est_secret_file: enrolment } });
    assert.notEqual((await agent(['provision'])).exit, 0);
    rmSync(enrolment);
    world.device.configure({ provisioning: { est_secret_file: right } });
    await succeeds(['provision']);
    for (const args of [['once'], ['check'], ['status'], ['history']]) await succeeds(args);
    for (const action of ['show', 'check']) await succeeds(['config', action]);

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

  test('servers are asked through proxies, mirrors and tokens that are wrong', async () => {
    const proxy = `http://user:${OTHERS.proxyPassword}@127.0.0.1:1`;
    await fails('GATEWAY_UNREACHABLE', ['check'], { HTTPS_PROXY: proxy });
    const { gateway } = world.device.settings;
    for (const url of [
      `https://user:${OTHERS.mirrorPassword}@mirror/`,
      `https://gw/?token=${OTHERS.gatewayToken}`,
    ]) {
      world.device.configure({ download: { mirrors: [url] }, gateway: { url } });
      await fails('CONFIG_INVALID', ['config', 'show']);
      await fails('CONFIG_INVALID', ['once']);
      world.device.configure({
        download: { mirrors: undefined },
        gateway: { url: gateway?.['url'] },
      });
    }
    const place = mkdtempSync('/dev/shm/ota-agent-secrecy-');
    try {
      const value = Buffer.from(OTHERS.deviceSecret).toString('base64');
      await world.director.control('PUT', `/devices/${DEVICE}/secrets/db`, { value });
      const change = ['false', OTHERS.changeArgument];
      world.device.configure({ secrets: { directory: join(place, 'secrets'), on_change: change } });
      await succeeds(['secrets']);
      assert.equal(readFileSync(join(place, 'secrets', 'db'), 'utf8'), OTHERS.deviceSecret);
      await succeeds(['config', 'show']);
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  test('images are installed, well and badly, with programs that fail', async () => {
    world.device.configure({ download: { attempts: 1 } });
    const failing = (argument: string): readonly string[] => ['false', '--token', argument];
    await world.offer('held.img', randomBytes(1000));
    world.device.configure({ update: { inhibitors: [failing(OTHERS.inhibitorArgument)] } });
    assert.equal((await untraced(['once'])).exit, 12);
    await untraced(['status']);
    world.device.configure({ update: { inhibitors: undefined } });

    const reboot = { reboot_command: failing(OTHERS.rebootArgument) };
    world.device.configure({ installer: reboot });
    const path = join(world.directory, 'images', 'encrypted');
    writeFileSync(path, Buffer.alloc(200_000, OTHERS.encryptedImage));
    const image = { path, name: 'encrypted.img', hardwareIds: [HARDWARE], version: '2' };
    await world.director.publish({ ...image, encrypt: true });
    await world.director.assign(DEVICE, image.name);
    const installed = await untraced(['once']);
    assert.match(said(installed), /installer\.reboot_command ended with 1/u);
    world.device.configure({ health: { commands: [failing(OTHERS.healthArgument)] } });
    world.device.boot();
    assert.match(said(await untraced(['once'])), /HEALTH_CHECK_FAILED/u);
    world.device.configure({ health: { commands: undefined } });
    assert.equal((await untraced(['once'])).exit, 0);

    const uri = `https://user:${SIGNED.imagePassword}@127.0.0.1:1/a.img?token=${SIGNED.imageToken}`;
    writeFileSync(path, randomBytes(1000));
    await world.director.publish({ ...image, name: 'elsewhere.img', uri });
    await world.director.assign(DEVICE, 'elsewhere.img');
    assert.match(said(await untraced(['once'])), /127\.0\.0\.1:1/u);
    await world.offer('broken.img', randomBytes(1000));
    const command = ['/usr/bin/false', OTHERS.installerArgument];
    const { installer } = world.device.settings;
    const unset = { slot_a: undefined, slot_b: undefined, marker: undefined };
    world.device.configure({
      installer: { ...unset, booted_file: undefined, type: 'command', command },
    });
    assert.match(said(await untraced(['once'])), /false/u);
    await untraced(['config', 'show']);
    world.device.configure({ installer: { ...installer, command: undefined, reboot_command: [] } });
    await world.offer('good.img', randomBytes(1000));
    assert.equal((await untraced(['once'])).exit, 11);
    world.device.boot();
    assert.equal((await untraced(['once'])).exit, 0);
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
      for (const [method, path] of ASKED) {
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
    const inhibitors = [['/usr/bin/true', '--password', OTHERS.inhibitorArgument]];
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

  test('none was said, asked, reported or shown', async () => {
    spoken.push(...(await receivedBy(world.director)));
    const everything = spoken.map(({ text }) => text).join('\n');
    assert.ok(everything.length > 10_000);
    assert.ok(everything.includes('device-1'), 'the search searches the wrong thing');
    // An environment is nobody's but the process's; whoever has set it up has put it there.
    // URLs with a password and a token were told, and without them.
    assert.ok(
      everything.includes('127.0.0.1:1/a.img?(redacted)'),
      'nobody told where the image is',
    );
    const showing = spoken.filter(({ of, text }) =>
      shows(Buffer.from(text), of.endsWith('/environ') ? PINS : ALL),
    );
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
      started.filter((line) => shows(Buffer.from(line), PINS)),
      [],
    );
  });

  test('no file that was written holds one', () => {
    const { directory } = world.device.options;
    const own = [directory, temporary]
      .flatMap(filesBelow)
      .filter((path) => !/\/(?:so-)?pin$/u.test(path) && path !== world.device.configPath)
      .filter((path) => !path.endsWith('.img'));
    // The Director knows what it has told the device.
    const others = filesBelow(join(world.directory, 'director'));
    const files = [...own, ...others];
    for (const name of ['refused-pins.json', 'metrics.prom', 'ota-agent.db']) {
      assert.ok(
        files.some((path) => path.endsWith(name)),
        name,
      );
    }
    const database = files.find((path) => path.endsWith('ota-agent.db')) ?? '';
    assert.ok(readFileSync(database).includes('device-1'), 'the search searches the wrong thing');
    assert.deepEqual(
      [
        ...own.filter((path) => shows(readFileSync(path), { ...PINS, ...OTHERS })),
        ...own.filter((path) => !/\.db(?:-wal)?$/u.test(path) && shows(readFileSync(path), SIGNED)),
        ...others.filter((path) => shows(readFileSync(path), PINS)),
      ],
      [],
    );
    assert.ok(shows(readFileSync(pinFile()), PINS), 'the search finds nothing');
  });
});
