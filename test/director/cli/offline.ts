/** Commands for updates on media. */
import { resolve } from 'node:path';

import type { Lockbox } from '../offline.ts';
import type { Command } from './actions.ts';
import { lines } from './render.ts';

type Shown = Pick<Lockbox, 'name' | 'version' | 'images'>;

export const OFFLINE_COMMANDS: Readonly<Record<string, Command>> = {
  lockbox: {
    usage: 'LOCKBOX IMAGE… [--device DEVICE]',
    options: ['device'],
    words: [2, 20],
    what: 'sign an update for sticks, or its next version; --device for encrypted images',
    run: async (control, line) => {
      const [name, ...images] = line.words;
      const device = line.optionalText('device');
      const body = { name, images, ...(device === undefined ? {} : { device }) };
      const lockbox = (await control('POST', '/lockboxes', body)) as Shown;
      return { json: lockbox, text: describe(lockbox) };
    },
  },
  lockboxes: {
    usage: '',
    options: [],
    words: [0, 0],
    what: 'updates that are signed for sticks',
    run: async (control) => {
      const lockboxes = (await control('GET', '/lockboxes')) as readonly Shown[];
      return { json: lockboxes, text: lines(lockboxes.map(describe), 'no lockbox yet') };
    },
  },
  stick: {
    usage: 'DIR [LOCKBOX…]',
    options: [],
    words: [1, 20],
    what: 'write a stick that is mounted at DIR, with these lockboxes or all',
    run: async (control, line) => {
      const [directory = '', ...lockboxes] = line.words;
      const body = { directory: resolve(directory), lockboxes };
      const written = (await control('POST', '/sticks', body)) as readonly Shown[];
      return { json: written, text: lines(written.map(describe), 'nothing') };
    },
  },
};

function describe({ name, version, images }: Shown): string {
  return `${name} ${String(version)}: ${images.join(', ')}`;
}
