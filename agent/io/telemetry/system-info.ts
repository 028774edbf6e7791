/** What machine this is, in the form of `lshw -json`, which the field's gateways keep and show. */
import { readFile } from 'node:fs/promises';
import { cpus, machine, release, totalmem } from 'node:os';
import { join } from 'node:path';

import { contentOf, type Source } from './source.ts';

/**
 * No serial numbers: they name a device or its owner in databases that are not the fleet's.
 *
 * Not lshw itself: few devices have it, and without root it says as much.
 *
 * Source: aktualizr, PUT /system_info.
 *
 * @param root - of the file system, for tests
 */
export function systemInfo(root = '/'): Source {
  return { path: '/system_info', read: async () => contentOf(await describeSystem(root)) };
}

async function describeSystem(root: string): Promise<object> {
  const dmi = (name: string): Promise<string | undefined> =>
    firstLine(join(root, 'sys/class/dmi/id', name));
  const model = await firstLine(join(root, 'proc/device-tree/model'));
  return defined({
    id: 'system',
    class: 'system',
    claimed: true,
    description: model ?? 'Computer',
    product: model ?? (await dmi('product_name')),
    vendor: await dmi('sys_vendor'),
    version: await dmi('product_version'),
    configuration: defined({
      architecture: machine(),
      kernel: release(),
      os: await osName(root),
    }),
    children: [
      {
        id: 'core',
        class: 'bus',
        claimed: true,
        children: [
          {
            id: 'memory',
            class: 'memory',
            claimed: true,
            description: 'System memory',
            units: 'bytes',
            size: totalmem(),
          },
          ...processors(),
        ],
      },
    ],
  });
}

function processors(): readonly object[] {
  const found = cpus();
  const models = [...new Set(found.map(({ model }) => model.trim()))];
  return models.map((model, index) => ({
    id: `cpu:${String(index)}`,
    class: 'processor',
    claimed: true,
    product: model,
    configuration: { cores: String(found.filter((cpu) => cpu.model.trim() === model).length) },
  }));
}

async function osName(root: string): Promise<string | undefined> {
  const text = await readFile(join(root, 'etc/os-release'), 'utf8').catch(() => '');
  return /^PRETTY_NAME="?([^"\n]*)"?$/mu.exec(text)?.[1];
}

/** Values of a device tree end in NUL. */
async function firstLine(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const line = text.split(/[\n\0]/u, 1)[0]?.trim();
  return line === '' ? undefined : line;
}

function defined(value: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined));
}
