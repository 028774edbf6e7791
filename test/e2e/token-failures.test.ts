/** Everything that can be wrong with a token, as the operator of a device sees it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

import { standBetween } from '../support/between.ts';
import type { AgentResult } from '../support/device.ts';
import { faultyModule, faults } from '../support/faulty-module.ts';
import { listenToNotifications } from '../support/notify-listener.ts';
import { demandStops } from '../support/processes.ts';
import { startTee, type Tee } from '../support/tee.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

describe('a token that fails', () => {
  let world: World;
  let restarted: Tee | undefined;
  before(async () => {
    world = await openWorld('provisioned');
  });
  beforeEach(() => {
    world.device.configure({
      token: { module: world.tee.module, uri: 'pkcs11:token=ota-agent', isolation: 'none' },
      gateway: { url: world.director.gatewayUrl },
    });
  });
  after(async () => {
    await restarted?.stop();
    await world.close();
  });

  const ends50 = (result: AgentResult, code: string): Record<string, string> => {
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], code, said(result));
    return result.json['details'] as Record<string, string>;
  };
  const works = async (): Promise<void> => {
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
  };

  describe('by its library', () => {
    for (const call of ['C_Initialize', 'C_GetSlotList'] as const) {
      test(`that crashes in ${call}: which call, which signal, and exit 50`, async () => {
        world.device.configure({ token: { module: faultyModule() } });
        const env = faults(world.tee.module, call, 'crash');
        const details = ends50(await world.device.agent(['once'], env), 'TOKEN_MODULE');
        assert.equal(details['module'], faultyModule());
        assert.equal(details['cause'], `${call}: the library crashed (SIGSEGV)`);
        assert.match(details['remedy'] ?? '', /^install another version of the library/u);
      });
    }

    test('that hangs: which call, how long it was waited for, and exit 50', async () => {
      world.device.configure({ token: { module: faultyModule() } });
      const env = faults(world.tee.module, 'C_Initialize', 'hang');
      const details = ends50(await world.device.agent(['check'], env), 'TOKEN_MODULE');
      assert.equal(details['cause'], 'C_Initialize: no answer within 15 s');
      assert.match(details['remedy'] ?? '', /tee-supplicant, tpm2-abrmd, pcscd/u);
    });

    test('that crashes when it signs ends the process, and nothing is lost by that', async () => {
      world.device.configure({ token: { module: faultyModule() } });
      const env = faults(world.tee.module, 'C_Sign', 'crash');
      const result = await world.device.agent(['once'], env);
      assert.equal(result.signal, 'SIGSEGV', said(result));
      world.device.configure({ token: { module: world.tee.module } });
      await works();
    });
  });

  describe('while it is used', () => {
    for (const [rv, code] of [
      ['0x32', 'TOKEN_ABSENT'],
      ['0xe0', 'TOKEN_ABSENT'],
      ['0x30', 'TOKEN_FAILED'],
    ] as const) {
      test(`by answering ${rv} when it is to sign: ${code}, exit 50`, async () => {
        world.device.configure({ token: { module: faultyModule() } });
        const env = faults(world.tee.module, 'C_Sign', rv);
        ends50(await world.device.agent(['once'], env), code);
      });
    }

    test('by never answering: the daemon’s watchdog is fed no more', async (t) => {
      const systemd = await listenToNotifications(t);
      const hangs = join(world.directory, 'hangs');
      world.device.configure({ token: { module: faultyModule() } });
      const daemon = world.device.start(['run'], {
        ...faults(world.tee.module, 'C_Sign', 'hang', { FAULTY_FILE: hangs }),
        NOTIFY_SOCKET: systemd.address,
        WATCHDOG_USEC: '400000',
      });
      try {
        while (!(await world.device.agent(['status'])).json['nextPollAt']) await setTimeout(50);
        while ((await systemd.next()) !== 'WATCHDOG=1');
        writeFileSync(hangs, '');
        await pollNow(world);
        let last = Date.now();
        const listening = (async () => {
          for (;;) {
            await systemd.next();
            last = Date.now();
          }
        })();
        listening.catch(() => undefined);
        // Ten times the interval in which it has to be fed.
        while (Date.now() - last < 4000) await setTimeout(100);
        assert.equal(daemon.exitCode, null, 'it is not dead, it hangs');
      } finally {
        const exited = once(daemon, 'exit');
        daemon.kill('SIGKILL');
        await exited;
        rmSync(hangs, { force: true });
      }
      world.device.configure({ token: { module: world.tee.module } });
      await works();
    });

    // A call that hangs runs in the probe, in the worker, or behind p11-kit's server.
    for (const { call, isolation, how } of [
      { call: 'C_GetSlotList', isolation: 'none', how: 'SIGTERM' },
      { call: 'C_Login', isolation: 'none', how: 'SIGTERM' },
      { call: 'C_Sign', isolation: 'none', how: 'SIGTERM' },
      { call: 'C_Sign', isolation: 'none', how: 'Ctrl-C' },
      { call: 'C_Sign', isolation: 'p11-kit', how: 'SIGTERM' },
    ] as const) {
      test(
        `by never answering ${call}, isolation ${isolation}: at ${how} the daemon ends in 2 s, and what hangs with it`,
        { timeout: 120_000 },
        async () => {
          const hung = join(world.directory, 'hung');
          world.device.configure({ token: { module: faultyModule(), isolation } });
          const fault = faults(world.tee.module, call, 'hang', { FAULTY_HUNG: hung });
          const daemon = world.device.start(['run'], fault);
          while (!existsSync(hung)) {
            assert.equal(daemon.exitCode, null);
            await setTimeout(20);
          }
          rmSync(hung);
          // A terminal sends it to all that are in the group.
          if (how === 'Ctrl-C')
            await demandStops(daemon, () => process.kill(-(daemon.pid ?? 0), 'SIGINT'));
          else await demandStops(daemon);
        },
      );
    }

    test('after all of them it is as it was', works);

    test('by going away in the middle of a TLS handshake is not the gateway’s fault', async () => {
      const gone = async (): Promise<void> => {
        process.kill(world.tee.pid, 'SIGKILL');
        await world.tee.stop();
      };
      const wire = await standBetween(world.director.gatewayUrl, gone);
      try {
        world.device.configure({ gateway: { url: wire.url } });
        const details = ends50(await world.device.agent(['once']), 'TOKEN_FAILED');
        assert.equal(details['operation'], 'sign the TLS handshake');
        assert.match(details['cause'] ?? '', /PKCS#11 module/u);
        restarted = await startTee(world.directory);
        world.device.configure({ gateway: { url: world.director.gatewayUrl } });
        await works();
      } finally {
        await wire.close();
      }
    });
  });

  describe('by its PIN', () => {
    const pin = (): string => join(world.device.options.directory, 'pin');
    const usePin = (text: string): void => {
      writeFileSync(pin(), text);
    };

    test('a wrong one is exit 50 and tried once, however often the agent is started', async () => {
      usePin('wrong-pin');
      const first = ends50(await world.device.agent(['once']), 'TOKEN_PIN_INCORRECT');
      assert.match(first['remedy'] ?? '', /^correct the PIN in token\.pin_file/u);
      for (const command of ['check', 'run', 'provision', 'once']) {
        const details = ends50(await world.device.agent([command]), 'TOKEN_PIN_INCORRECT');
        assert.equal(details['triesLeft'], 'at least 1, fewer than the full number');
        assert.match(details['remedy'] ?? '', /^the token refused this PIN before/u);
      }
      usePin('2718-user');
      await works();
    });

    test('one that others can read is exit 50 before it is tried', async () => {
      const path = pin();
      rmSync(path);
      writeFileSync(path, '2718-user', { mode: 0o644 });
      const details = ends50(await world.device.agent(['once']), 'TOKEN_PIN_EXPOSED');
      assert.equal(details['path'], path);
      rmSync(path);
      writeFileSync(path, '2718-user', { mode: 0o600 });
      await works();
    });

    test('a locked one is exit 50, with who can unlock it', async () => {
      const { module, env } = { ...world.tee };
      const login = ['--module', module, '--token-label', 'ota-agent', '--login', '--list-objects'];
      for (let attempt = 0; attempt < 7; attempt += 1) {
        const wrong = [...login, '--pin', `wrong-${String(attempt)}`];
        await promisify(execFile)('pkcs11-tool', wrong, { env: { ...process.env, ...env } }).catch(
          () => undefined,
        );
      }
      const details = ends50(await world.device.agent(['once']), 'TOKEN_LOCKED');
      assert.match(details['remedy'] ?? '', /Security Officer.*--login-type so --init-pin/u);
    });
  });
});

async function pollNow(world: World): Promise<void> {
  const socketPath = join(world.device.options.directory, 'api.sock');
  const request = httpRequest({ socketPath, method: 'POST', path: '/v1/update' }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
}
