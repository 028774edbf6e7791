/** What the gateway is told about a device: read from files that a system keeps, whatever is in them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError } from '../../../../agent/errors.ts';
import { networkInfo } from '../../../../agent/io/telemetry/network-info.ts';
import { installedPackages, parsePackages } from '../../../../agent/io/telemetry/packages.ts';
import { systemInfo } from '../../../../agent/io/telemetry/system-info.ts';
import { temporaryDirectory } from '../../../support/temporary.ts';

const directory = temporaryDirectory('telemetry');
after(() => {
  directory.remove();
});

/** A file system with these files. */
function rootWith(name: string, files: Readonly<Record<string, string>>): string {
  const root = join(directory.path, name);
  mkdirSync(root);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

describe('installed packages', () => {
  test('are those that dpkg and opkg say are installed', () => {
    const status = `Package: base-files
Status: install ok installed
Version: 12.4
Description: more
 Version: of the text

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: half
Status: install ok installed
`;
    assert.deepEqual(parsePackages(status), [{ name: 'base-files', version: '12.4' }]);
  });

  test('are lines of name and version, with an architecture between or not', () => {
    const manifest = 'busybox cortexa53 1.36.1-r0\n\nlibc6 2.38\nalone\n';
    assert.deepEqual(parsePackages(manifest), [
      { name: 'busybox', version: '1.36.1-r0' },
      { name: 'libc6', version: '2.38' },
    ]);
  });

  test('are read from any text without a failure, with a name and a version each', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        for (const one of [...parsePackages(text), ...parsePackages(`Package: a\n${text}`)])
          assert.ok(one.name !== '' && one.version !== '');
      }),
    );
  });

  test('have another version when their file has changed, and no body is made to know that', async () => {
    const path = join(rootWith('versions', { list: 'a 1\n' }), 'list');
    const { read } = installedPackages(path);
    const first = await read();
    assert.equal((await read())?.version, first?.version);
    writeFileSync(path, 'a 1\nb 2\n');
    const { size } = statSync(path);
    const second = await read();
    assert.notEqual(second?.version, first?.version);
    assert.match(second?.version ?? '', new RegExp(`:${String(size)}$`, 'u'));
    assert.deepEqual(await second?.body(), [
      { name: 'a', version: '1' },
      { name: 'b', version: '2' },
    ]);
  });

  test('of a system that keeps no list are not told; a file that was named has to be one', async () => {
    assert.equal(await installedPackages(undefined, ['/nowhere/status']).read(), undefined);
    const pipe = join(rootWith('pipe', {}), 'packages');
    execFileSync('mkfifo', [pipe]);
    for (const [path, cause] of [
      ['/nowhere/packages', /ENOENT/u],
      [pipe, /^it is no file$/u],
    ] as const) {
      await assert.rejects(installedPackages(path).read(), (error) => {
        assert.ok(isOtaError(error) && error.code === 'FILE_UNREADABLE');
        assert.equal(error.details.path, path);
        assert.match(error.details.cause, cause);
        assert.match(error.details.remedy, /telemetry\.packages_file/u);
        return true;
      });
    }
  });
});

describe('the machine', () => {
  const described = async (root: string): Promise<Record<string, unknown>> => {
    const content = await systemInfo(root).read();
    return (await content?.body()) as Record<string, unknown>;
  };

  test('is what its device tree says, in the form of lshw', async () => {
    const root = rootWith('board', {
      'proc/device-tree/model': 'Toradex Verdin iMX8M Plus\0',
      'etc/os-release': 'ID=torizon\nPRETTY_NAME="TorizonCore 6.4"\n',
    });
    const { class: kind, product, configuration, children } = await described(root);
    assert.deepEqual([kind, product], ['system', 'Toradex Verdin iMX8M Plus']);
    assert.equal((configuration as { os: string }).os, 'TorizonCore 6.4');
    const [core] = children as [{ children: { class: string; size?: number }[] }];
    assert.deepEqual(core.children.map((one) => one.class).slice(0, 2), ['memory', 'processor']);
    assert.ok((core.children[0]?.size ?? 0) > 0);
  });

  test('is what its DMI says, without a serial number', async () => {
    const root = rootWith('pc', {
      'sys/class/dmi/id/sys_vendor': 'ACME\n',
      'sys/class/dmi/id/product_name': 'Box\n',
      'sys/class/dmi/id/product_serial': 'SERIAL-4711\n',
      'sys/class/dmi/id/product_uuid': 'UUID-4711\n',
    });
    const told = await described(root);
    assert.deepEqual([told['vendor'], told['product']], ['ACME', 'Box']);
    assert.doesNotMatch(JSON.stringify(told), /4711/u);
  });

  test('has the same version as long as it says the same', async () => {
    const root = rootWith('same', { 'etc/os-release': 'PRETTY_NAME=one\n' });
    const first = await systemInfo(root).read();
    assert.equal((await systemInfo(root).read())?.version, first?.version);
    writeFileSync(join(root, 'etc/os-release'), 'PRETTY_NAME=two\n');
    assert.notEqual((await systemInfo(root).read())?.version, first?.version);
  });
});

describe('the network', () => {
  const ROUTES = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
../evil\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
wlan0\t0002000A\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
`;
  const root = rootWith('network', {
    'proc/net/route': ROUTES,
    'sys/class/net/eth0/address': '02:00:00:00:00:01\n',
    'sys/class/net/wlan0/address': '02:00:00:00:00:02\n',
  });
  const told = async (address: string | undefined): Promise<unknown> => {
    const content = await networkInfo(() => address, root).read();
    return content?.body();
  };

  test('is host name, address towards the gateway, and MAC of the interface that has it', async () => {
    const host = { hostname: hostname() };
    assert.deepEqual(await told('10.0.2.7'), {
      ...host,
      local_ipv4: '10.0.2.7',
      mac: '02:00:00:00:00:02',
    });
    assert.deepEqual(await told('::ffff:192.168.0.9'), {
      ...host,
      local_ipv4: '192.168.0.9',
      mac: '02:00:00:00:00:01',
    });
    assert.deepEqual(await told('fd00::1'), {
      ...host,
      local_ipv6: 'fd00::1',
      mac: '02:00:00:00:00:01',
    });
  });

  test('is not told where no connection has shown it', async () => {
    assert.equal(await told(undefined), undefined);
  });

  test('has no MAC where no route says which interface it is', async () => {
    const content = await networkInfo(() => '10.0.2.7', rootWith('bare', {})).read();
    assert.deepEqual(await content?.body(), { hostname: hostname(), local_ipv4: '10.0.2.7' });
  });
});
