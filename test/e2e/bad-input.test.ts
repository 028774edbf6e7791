/** What goes wrong in the field, and whether the answer names what, where and what to do. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { AgentResult, Settings } from '../support/device.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

describe('bad input', () => {
  let world: World;
  before(async () => {
    world = await openWorld('provisioned');
  });
  after(() => world.close());

  /** Runs with changed settings and puts them back. */
  const once = async (changes: Settings, env = {}, args = ['once']): Promise<AgentResult> => {
    const { device } = world;
    const before = structuredClone(device.settings);
    device.configure(changes);
    try {
      return await device.agent(args, env);
    } finally {
      for (const table of Object.keys(changes)) device.settings[table] = before[table] ?? {};
      device.configure({});
    }
  };
  const file = (name: string, content: string): string => {
    const path = join(world.directory, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const details = (result: AgentResult): Record<string, string> =>
    result.json['details'] as Record<string, string>;
  const healthy = async (): Promise<void> => {
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
  };

  test('a wrong PIN is tried once, says how many tries are left, and harms nothing', async () => {
    const result = await once({ token: { pin_file: file('wrong-pin', '0000-wrong') } });
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], 'TOKEN_PIN_INCORRECT');
    assert.match(details(result)['triesLeft'] ?? '', /\d|last|fewer|least/u);
    assert.match(details(result)['remedy'] ?? '', /pin/iu);
    assert.ok(!result.stdout.includes('0000-wrong') && !result.stderr.includes('0000-wrong'));
    await healthy();
  });

  test('a PIN file that is missing is named', async () => {
    const missing = join(world.directory, 'no-pin');
    const result = await once({ token: { pin_file: missing } });
    assert.ok(result.exit === 50 || result.exit === 2, said(result));
    assert.ok(JSON.stringify(result.json).includes(missing), said(result));
  });

  test('a token that is not there is named, with those that are', async () => {
    const result = await once({ token: { uri: 'pkcs11:token=elsewhere' } });
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], 'TOKEN_ABSENT');
    assert.match(details(result)['uri'] ?? '', /elsewhere/u);
    assert.match(details(result)['found'] ?? '', /ota-agent/u);
  });

  test('a TEE that does not run is named by its socket', async () => {
    const socket = join(world.directory, 'nobody.sock');
    const result = await once({}, { OTA_TEE_SOCKET: socket });
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], 'TOKEN_MODULE');
    assert.ok(result.stderr.includes(socket) || result.stdout.includes(socket), said(result));
  });

  test('a PKCS#11 module that is not there is named by its path', async () => {
    const module = join(world.directory, 'no-module.so');
    const result = await once({ token: { module } });
    assert.equal(result.exit, 50, said(result));
    assert.equal(result.json['code'], 'TOKEN_MODULE');
    assert.equal(details(result)['module'], module);
  });

  test('a misspelled key is named with file, line and the key that was meant', async () => {
    const result = await once({ gateway: { timeuot: '10s' } });
    assert.equal(result.exit, 2, said(result));
    assert.equal(result.json['code'], 'CONFIG_INVALID');
    assert.equal(details(result)['file'], world.device.configPath);
    assert.match(details(result)['remedy'] ?? '', /timeout/u);
    const line = Number(details(result)['line']);
    const text = readFileSync(world.device.configPath, 'utf8').split('\n');
    assert.ok(line > 0 && line <= text.length);
  });

  test('a CA file that cannot be read is named, with its setting', async () => {
    const ca = join(world.directory, 'no-ca.pem');
    const result = await once({ gateway: { ca } });
    assert.equal(result.exit, 2, said(result));
    assert.equal(result.json['code'], 'FILE_UNREADABLE');
    assert.equal(details(result)['path'], ca);
    assert.match(details(result)['remedy'] ?? '', /gateway\.ca/u);
  });

  test('a CA file with no certificate in it is refused by name', async () => {
    const ca = file('empty-ca.pem', 'not a certificate\n');
    const result = await once({ gateway: { ca } });
    assert.ok([2, 21, 50].includes(result.exit ?? 1), said(result));
    assert.ok(result.exit !== 1);
  });

  test('a gateway that is down is exit 21 with its address', async () => {
    const result = await once({ gateway: { url: 'https://127.0.0.1:9' } });
    assert.equal(result.exit, 21, said(result));
    assert.equal(result.json['code'], 'GATEWAY_UNREACHABLE');
    assert.match(details(result)['url'] ?? '', /127\.0\.0\.1:9/u);
  });

  test('a full disk says how much is missing, and the update completes when there is room', async (t) => {
    const { device } = world;
    const small = join(device.options.directory, 'small');
    const idle = readFileSync(device.board.booted, 'utf8').trim() === 'a' ? 'b' : 'a';
    mkdirSync(small, { recursive: true });
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', small], { stdio: 'ignore' });
    } catch {
      t.skip('mounting a small tmpfs needs root');
      return;
    }
    try {
      const slot = join(small, 'slot');
      writeFileSync(slot, '');
      device.configure({ installer: { [`slot_${idle}`]: slot } });
      await world.offer('large.img', Buffer.alloc(4_000_000, 'large'));
      const result = await device.agent(['once']);
      assert.equal(result.exit, 32, said(result));
      assert.equal(result.json['code'], 'SPACE_INSUFFICIENT');
      const { neededBytes, freeBytes } = result.json['details'] as Record<string, number>;
      assert.ok(neededBytes === 4_000_000 && (freeBytes ?? 0) < 4_000_000);
    } finally {
      execFileSync('umount', [small]);
      device.configure({ installer: { [`slot_${idle}`]: device.slots[idle] } });
    }
    const result = await device.agent(['once']);
    assert.equal(result.exit, 11, said(result));
    device.boot();
    await healthy();
  });

  test('a corrupted database is refused with its path and the way out, and is left as it is', async () => {
    const { device } = world;
    const storage = join(world.directory, 'corrupt');
    mkdirSync(storage);
    const garbage = Buffer.alloc(8192, 'this is no database ');
    writeFileSync(join(storage, 'ota-agent.db'), garbage);
    const result = await once({ storage: { path: storage } });
    assert.equal(result.exit, 2, said(result));
    assert.equal(result.json['code'], 'STORAGE_CORRUPT');
    assert.equal(details(result)['path'], join(storage, 'ota-agent.db'));
    assert.match(details(result)['remedy'] ?? '', /ota-agent provision/u);
    assert.ok(readFileSync(join(storage, 'ota-agent.db')).equals(garbage));
    assert.ok(existsSync(join(device.options.directory, 'storage', 'ota-agent.db')));
  });

  test('a clock in 1970 neither bricks nor frees the device: certificates count by what it has seen', async () => {
    await healthy();
    const result = await once({}, fakeClock('@1970-01-02 00:00:00'));
    assert.equal(result.exit, 0, said(result));
    const without = { PATH: world.directory };
    const named = await once({}, { ...fakeClock('@1970-01-02 00:00:00'), ...without });
    assert.equal(named.exit, 21, said(named));
    assert.equal(named.json['code'], 'GATEWAY_TLS');
    assert.match(details(named)['remedy'] ?? '', /clock/u);
    await healthy();
  });

  test('a clock in 2100 is an error while it lasts, and leaves nothing behind', async () => {
    const result = await once({}, fakeClock('@2100-01-01 00:00:00'));
    assert.equal(result.exit, 50, said(result));
    assert.match(result.stdout, /clock|expired/u);
    await healthy();
  });

  test('a device that was never provisioned is exit 3 and says how to', async () => {
    const result = await once({ storage: { path: join(world.directory, 'fresh') } });
    assert.equal(result.exit, 3, said(result));
    assert.equal(result.json['code'], 'NOT_PROVISIONED');
    assert.match(details(result)['remedy'] ?? '', /provision/u);
  });

  test('a storage path that cannot be made is named', async () => {
    const blocked = file('a-file', '');
    const result = await once({ storage: { path: join(blocked, 'storage') } });
    assert.equal(result.json['code'], 'STORAGE_FAILED', said(result));
    assert.match(details(result)['path'] ?? '', /a-file/u);
  });

  test('a command that does not exist, and an option nobody knows, are exit 2', async () => {
    const unknown = await once({}, {}, ['updaet']);
    assert.equal(unknown.exit, 2);
    assert.equal(unknown.json['code'], 'USAGE');
    const option = await once({}, {}, ['once', '--fast']);
    assert.equal(option.exit, 2);
    assert.equal(option.json['code'], 'USAGE');
  });

  test('an unreadable configuration file is named', async () => {
    const result = await world.device.agent(['once', '--config', join(world.directory, 'none')]);
    assert.equal(result.exit, 2, said(result));
    assert.equal(result.json['code'], 'FILE_UNREADABLE');
    chmodSync(world.device.configPath, 0o600);
  });
});
