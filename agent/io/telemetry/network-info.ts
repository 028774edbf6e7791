/** Where this device is in its network, as the connection to the gateway shows it. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

import { contentOf, type Source } from './source.ts';

/**
 * Not from `os.networkInterfaces()`: that asks netlink, which the sandbox of the unit has not.
 *
 * Source: aktualizr, PUT /system_info/network.
 *
 * @param localAddress - of the last connection to the gateway
 * @param root - of the file system, for tests
 */
export function networkInfo(localAddress: () => string | undefined, root = '/'): Source {
  return {
    path: '/system_info/network',
    read: async () => {
      const address = localAddress()?.replace(/^::ffff:/u, '');
      if (address === undefined) return undefined;
      const isVersion4 = /^[\d.]+$/u.test(address);
      const mac = await macTowards(isVersion4 ? address : undefined, root);
      return contentOf({
        hostname: hostname(),
        ...(isVersion4 ? { local_ipv4: address } : { local_ipv6: address }),
        ...(mac === undefined ? {} : { mac }),
      });
    },
  };
}

/** @returns of the interface whose network has the address, else of that with the default route */
async function macTowards(address: string | undefined, root: string): Promise<string | undefined> {
  const routes = parseRoutes(await readFile(join(root, 'proc/net/route'), 'utf8').catch(() => ''));
  const own = address === undefined ? undefined : numberOf(address);
  const near = routes.find(
    ({ isDirect, destination, mask }) =>
      own !== undefined && isDirect && (own & mask) >>> 0 === destination,
  );
  const route = near ?? routes.find(({ destination, mask }) => destination === 0 && mask === 0);
  if (route === undefined) return undefined;
  const path = join(root, 'sys/class/net', route.name, 'address');
  const mac = (await readFile(path, 'utf8').catch(() => '')).trim();
  return mac === '' ? undefined : mac;
}

interface Route {
  readonly name: string;
  readonly destination: number;
  readonly mask: number;
  /** Without a gateway between. */
  readonly isDirect: boolean;
}

/** Of /proc/net/route: addresses are hexadecimal, in the byte order of a little-endian machine. */
function parseRoutes(text: string): readonly Route[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [name = '', destination = '', gateway = '', , , , , mask = ''] = line.split('\t');
      // A name is a part of a path.
      if (!/^[\w.@:-]+$/u.test(name) || /^\.+$/u.test(name)) return [];
      const fields = { destination: fromHex(destination), mask: fromHex(mask) };
      return [{ name, ...fields, isDirect: fromHex(gateway) === 0 && fields.mask !== 0 }];
    });
}

function fromHex(text: string): number {
  return /^[\dA-F]{8}$/iu.test(text) ? Buffer.from(text, 'hex').readUInt32LE() : NaN;
}

function numberOf(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}
