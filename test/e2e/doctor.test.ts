/** Everything that `ota-agent doctor` can find, provoked: the line, the remedy, the code, the exit. */
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { collect } from '../support/device.ts';
import { DoctorBench, type Line } from '../support/doctor-bench.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { openWorld } from '../support/world.ts';

describe('ota-agent doctor', () => {
  let bench: DoctorBench;
  before(async () => {
    bench = await DoctorBench.open();
  });
  after(() => bench.close());

  test('a healthy device: everything is ok, exit 0', async () => {
    const { exit, outcome, lines } = await bench.doctor();
    const notOk = [...lines.values()].filter(({ status }) => status !== 'ok');
    // Whether there is a systemd depends on who runs this.
    assert.deepEqual(
      notOk.filter(({ name }) => name !== 'service'),
      [],
    );
    assert.ok(lines.size >= 25);
    assert.match(lines.get('seal')?.detail ?? '', /^(?:nothing yet|record \d+), in the TEE: /u);
    assert.equal(exit, 0);
    assert.equal(outcome, lines.get('service')?.status === 'warn' ? 'warn' : 'ok');
    assert.match(lines.get('tls-backend')?.detail ?? '', /^engine: auto: /u);
    assert.match(lines.get('gateway-tls')?.detail ?? '', /^TLSv1\.3/u);
  });

  test('for people: a mark, a name and a sentence on each line, the remedy behind it', async () => {
    const { device } = bench.world;
    const before = device.settings['storage']?.['path'];
    device.configure({ storage: { path: bench.path('nowhere') } });
    const { exit, stdout } = await collect(device.start(['doctor']));
    device.configure({ storage: { path: before } });
    const lines = stdout.trim().split('\n');
    assert.ok(
      lines.every((line) => /^[✔!✘-] [a-z-]+ {2,}\S/u.test(line)),
      stdout,
    );
    const storage = lines.find((line) => line.includes(' storage '));
    assert.match(storage ?? '', /^✘ .*NOT_PROVISIONED: .*What to do: .*provision/u);
    assert.match(stdout, /^- database +skipped: because of storage$/mu);
    assert.equal(exit, 3);
  });

  test('a mistake in the configuration is its first line, and nothing else can be looked at', async () => {
    const report = await bench.doctor({ gateway: { timeuot: '10s' } });
    report.finds('configuration', ['fail', 'CONFIG_INVALID'], [/timeuot/u, /timeout/u]);
    report.isSkipped('configuration', 'storage', 'clock', 'token', 'gateway-tls', 'installer');
    assert.equal(report.exit, 2);
    assert.equal(report.outcome, 'fail');
  });

  test('what is wrong in one place hides nothing in another', async () => {
    const [slot, booted] = [bench.path('no-slot'), bench.file('booted', 'c\n')];
    const report = await bench.doctor({
      token: { uri: 'pkcs11:token=elsewhere' },
      gateway: { url: 'https://127.0.0.1:9', ca: bench.path('no-ca.pem') },
      download: { reserve: '1000000GiB' },
      installer: { slot_a: slot },
    });
    report.finds('token', ['fail', 'TOKEN_ABSENT'], [/found "ota-agent"/u, /token\.uri/u]);
    report.isSkipped('token', 'mechanisms', 'tls-key', 'uptane-key', 'certificate', 'tls-backend');
    report.finds('gateway-trust', ['fail', 'FILE_UNREADABLE'], [/no-ca\.pem/u, /gateway\.ca/u]);
    report.finds(
      'gateway-port',
      ['fail', 'GATEWAY_UNREACHABLE'],
      [/ECONNREFUSED/u, /gateway\.url/u],
    );
    report.finds('space', ['fail', 'SPACE_INSUFFICIENT'], [/freeBytes \d/u, /free the space/u]);
    report.finds('installer', ['fail', 'INSTALL_FAILED'], [/no-slot: ENOENT/u, /cause/u]);
    report.isOk('configuration', 'storage', 'database', 'clock', 'token-module', 'roots');
    // A path in the configuration is mended first.
    assert.equal(report.exit, 2);

    const other = await bench.doctor({
      gateway: {
        url: 'https://nobody.invalid',
        tls_min: '1.3',
        pins: [`sha256/${'A'.repeat(43)}=`],
      },
      installer: { booted_file: booted },
      device: { id: 'somebody-else' },
    });
    other.finds('gateway-trust', ['warn', null], [/1 pins: a single one/u, /comes next/u]);
    other.finds('gateway-name', ['fail', 'GATEWAY_UNREACHABLE'], [/nobody\.invalid/u, /DNS/u]);
    other.isSkipped('gateway-name', 'gateway-port', 'director');
    other.finds('installer', ['fail', 'INSTALL_FAILED'], [/says "c", want a or b/u, /cause/u]);
    other.finds('certificate', ['fail', 'CERTIFICATE_INVALID'], [/somebody-else/u, /device\.id/u]);
    other.isOk('token', 'tls-key', 'uptane-key');
  });

  describe('storage', () => {
    test('a directory that others may read is a warning; a file in its place is a failure', async () => {
      const path = bench.setting('storage', 'path');
      chmodSync(path, 0o755);
      const open = await bench.doctor();
      chmodSync(path, 0o700);
      open.finds('storage', ['warn', null], [/0755/u, /chmod 700/u]);
      assert.deepEqual([open.exit, open.outcome], [0, 'warn']);
      const report = await bench.doctor({ storage: { path: bench.file('a-file', '') } });
      report.finds('storage', ['fail', 'STORAGE_FAILED'], [/a-file/u, /own/u]);
      assert.equal(report.exit, 32);
    });

    test('a database that is damaged is found, although the agent could open it', async () => {
      const path = bench.spoiled('damaged', (database) => {
        database.exec('PRAGMA writable_schema = ON; PRAGMA ignore_check_constraints = ON');
        database.exec("INSERT INTO installed VALUES ('device-1-primary', 7, '{}')");
      });
      const report = await bench.doctor({ storage: { path } });
      report.finds('database', ['fail', 'STORAGE_CORRUPT'], [/CHECK|installed/u, /provision/u]);
      report.isSkipped('database', 'registration', 'roots', 'metadata');
      report.isOk('clock', 'gateway-tls', 'director');
      assert.equal(report.exit, 2);
    });

    test('a device that nobody registered, whose roots nobody pinned or that are gone', async () => {
      const fresh = bench.spoiled('unregistered', (database) => {
        database.exec('DELETE FROM ecu');
        database.exec("INSERT OR REPLACE INTO fact VALUES ('director_trust', 'first-use')");
      });
      const report = await bench.doctor({ storage: { path: fresh } });
      report.finds('registration', ['fail', 'NOT_PROVISIONED'], [/ECU/u, /provision/u]);
      report.finds('roots', ['warn', null], [/first use/u, /compare the roots/u]);
      assert.equal(report.exit, 3);
      const rootless = bench.spoiled('rootless', (database) => {
        database.exec("DELETE FROM metadata WHERE name = 'image/root'");
      });
      const other = await bench.doctor({ storage: { path: rootless } });
      other.finds('roots', ['fail', 'NOT_PROVISIONED'], [/root metadata of image/u, /provision/u]);
      other.isSkipped('roots', 'metadata');
    });
  });

  describe('time', () => {
    test('a clock behind what this device has seen', async () => {
      const report = await bench.doctor({}, fakeClock('@2001-01-01 00:00:00'));
      report.finds('clock', ['warn', null], [/2001-01-01.*but it was 20/u, /date -u --set/u]);
      report.isOk('certificate', 'gateway-tls', 'director', 'metadata');
    });

    test('a clock an hour ahead of the gateway', async () => {
      const report = await bench.doctor({}, fakeClock('+1h'));
      report.finds('gateway-time', ['warn', null], [/the gateway has/u, /clock/u]);
      assert.equal(report.exit, 0);
    });

    test('a certificate that is to be renewed, and one that has ended', async () => {
      const due = await bench.doctor({}, fakeClock('+300d'));
      due.finds('certificate', ['warn', null], [/renewal is overdue/u, /rotate certificate/u]);
      const late = await bench.doctor({}, fakeClock('+400d'));
      late.finds('certificate', ['fail', 'CERTIFICATE_INVALID'], [/it expired at/u, /provision/u]);
      late.isSkipped('certificate', 'tls-backend', 'gateway-tls');
      assert.equal(late.exit, 50);
    });

    test('metadata that ends soon, or has ended', async () => {
      const soon = await bench.doctor({}, fakeClock('@2036-11-20 00:00:00'));
      const expired = ['warn', 'METADATA_EXPIRED'] as const;
      soon.finds('metadata', expired, [/director targets 20/u, /signed anew/u]);
      const path = bench.spoiled('only-roots', (database) => {
        database.exec("DELETE FROM metadata WHERE name NOT LIKE '%/root'");
      });
      const roots = await bench.doctor({ storage: { path } }, fakeClock('@2036-11-20 00:00:00'));
      roots.finds('metadata', ['warn', null], [/ends soon: director root/u, /new root signed/u]);
    });
  });

  test('a board that nobody provisioned is exit 3, and says what to run', async () => {
    const fresh = await openWorld('blank');
    try {
      const { exit, json } = await fresh.device.agent(['doctor']);
      const checks = json['checks'] as Line[];
      const failed = checks.filter(({ status }) => status === 'fail');
      assert.deepEqual(
        failed.map(({ name, code }) => [name, code]),
        [
          ['storage', 'NOT_PROVISIONED'],
          ['token', 'NOT_PROVISIONED'],
        ],
      );
      assert.ok(failed.every(({ remedy }) => remedy?.includes('ota-agent provision')));
      assert.equal(exit, 3);
    } finally {
      await fresh.close();
    }
  });
});
