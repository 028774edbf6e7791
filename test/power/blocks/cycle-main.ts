/**
 * One cycle of the agent on a disk that is logged. Whenever a call of a port has ended, the log gets a
 * mark, and what the agent and the boot loader believe then is copied to the side.
 *
 * `node cycle-main.ts BOARD DIRECTORY EXPORT`: prints the outcome.
 */
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';

import { runCycle } from '../../../agent/cycle/cycle.ts';
import type { Ports } from '../../../agent/ports.ts';
import { openPorts } from '../../crash/crash-device.ts';
import { BlockDevice, copyFiles } from './device.ts';
import { MARKS } from './layout.ts';
import { SECTOR_BYTES } from './block-log.ts';
import { writeMark } from './logged-disk.ts';

const [, , board = '', directory = '', exported = ''] = process.argv;
const device = new BlockDevice(directory, board);
let marks = 0;

/** All that was promised until now has to be there from now on. */
function mark(name: string): void {
  const to = join(device.at('marks'), String(marks));
  copyFiles(device.root, to);
  copyFiles(join(device.root, 'device'), join(to, 'device'));
  const manifests = join(device.at('world'), 'manifests');
  if (existsSync(manifests)) copyFileSync(manifests, join(to, 'manifests'));
  const sector = Buffer.alloc(SECTOR_BYTES);
  sector.write(`${String(marks)} ${name}`);
  writeMark(exported, MARKS.offsetBytes, sector);
  marks += 1;
}

type Method = (...args: unknown[]) => unknown;

function marked<T extends object>(name: string, port: T): T {
  return new Proxy(port, {
    get: (target, member) => {
      const value: unknown = Reflect.get(target, member, target);
      if (typeof value !== 'function') return value;
      const method = value.bind(target) as Method;
      return (...args: unknown[]) => {
        const result = method(...args);
        if (!(result instanceof Promise)) return result;
        return result.then((answer: unknown) => {
          mark(`${name}.${String(member)}`);
          return answer;
        });
      };
    },
  });
}

const opened = await openPorts(device.root, device.scenario);
const { ports } = opened;
mark('start');
const watched: Ports = {
  ...ports,
  store: marked('store', ports.store),
  director: marked('director', ports.director),
  installers: { of: (ecu) => marked('installer', ports.installers.of(ecu)) },
};
const { outcome } = await runCycle(watched);
await opened.close();
mark('end');
process.stdout.write(outcome);
