/** Commands about rollouts, and about devices as parts of them. */
import type { CountedRollout } from '../control/rollouts.ts';
import type { HistoryEntry } from '../rollouts/history.ts';
import { COMMANDS, type RolloutCommand } from '../rollouts/machine.ts';
import { sizeOf, type Rollout } from '../rollouts/rollout.ts';
import type { MemberRow } from '../state/store.ts';
import type { Command, Control, Output } from './actions.ts';
import { misuse, type CommandLine } from './command-line.ts';
import { lines, table } from './render.ts';

const STEERING: readonly (RolloutCommand | 'start')[] = ['start', ...COMMANDS];

export const ROLLOUT_COMMANDS: Readonly<Record<string, Command>> = {
  rollout: {
    usage:
      'IMAGE --name NAME --phase PERCENT[:SOAK]… [--hardware-id HW]… [--version V] [--tag T]… [--success PERCENT] [--failure PERCENT] [--start]',
    options: ['name', 'phase', 'hardware-id', 'version', 'tag', 'success', 'failure', 'start'],
    words: [1, 1],
    what: 'write a rollout down; phases are shares of its devices, each with seconds to be watched',
    run: createRollout,
  },
  steer: {
    usage: `ROLLOUT ${STEERING.join('|')}`,
    options: [],
    words: [2, 2],
    what: 'cancel lets devices finish that have begun; stop takes the image from them',
    run: async (control, line) => {
      const [id = '', command = ''] = line.words;
      if (!STEERING.some((one) => one === command))
        throw misuse(`there is no ${command} for rollouts`, `give one of ${STEERING.join(', ')}`);
      const path = `/rollouts/${encodeURIComponent(id)}/${command}`;
      const rollout = (await control('POST', path)) as Rollout;
      return { json: rollout, text: `${rollout.name} is ${rollout.state}: ${rollout.reason}` };
    },
  },
  rollouts: {
    usage: '',
    options: [],
    words: [0, 0],
    what: 'rollouts and their phases, the newest first',
    run: async (control) => {
      const rollouts = (await control('GET', '/rollouts')) as readonly CountedRollout[];
      return { json: rollouts, text: lines(rollouts.map(describeRollout), 'no rollout yet') };
    },
  },
  'rollout-devices': {
    usage: 'ROLLOUT waiting|assigned|succeeded|failed|withdrawn',
    options: [],
    words: [2, 2],
    what: 'devices of a rollout in one state',
    run: async (control, line) => {
      const [id = '', state = ''] = line.words.map(encodeURIComponent);
      const path = `/rollouts/${id}/devices?state=${state}`;
      const members = (await control('GET', path)) as readonly MemberRow[];
      const text = members.map(({ deviceId, phase }) => `${deviceId} phase ${String(phase + 1)}`);
      return { json: members, text: lines(text, 'none') };
    },
  },
  tag: {
    usage: 'DEVICE TAG…',
    options: [],
    words: [1, 20],
    what: 'call a device something, for filters of rollouts; replaces what it was called',
    run: async (control, line) => {
      const [device = '', ...tags] = line.words;
      await control('PUT', `/devices/${encodeURIComponent(device)}/tags`, { tags });
      return { json: { tags }, text: `${device}: ${tags.join(' ') || 'no tags'}` };
    },
  },
  history: {
    usage: 'DEVICE',
    options: [],
    words: [1, 1],
    what: 'what was decided for a device, and what came of it',
    run: async (control, line) => {
      const path = `/devices/${encodeURIComponent(line.word(0))}/history`;
      const history = (await control('GET', path)) as readonly HistoryEntry[];
      const text = history.map((one) =>
        [one.at, one.what, one.images.join(' '), one.detail].join(' '),
      );
      return { json: history, text: lines(text, 'nothing was decided yet') };
    },
  },
};

async function createRollout(control: Control, line: CommandLine): Promise<Output> {
  const phases = line.list('phase').map((text) => readPhase(text, line));
  if (phases.length === 0) throw misuse('--phase is missing', 'give --phase PERCENT or more');
  const version = line.optionalText('version');
  const created = (await control('POST', '/rollouts', {
    name: line.text('name'),
    image: line.word(0),
    filter: {
      hardwareIds: line.list('hardware-id'),
      versions: version === undefined ? [] : [version],
      tags: line.list('tag'),
    },
    phases,
  })) as Rollout;
  const rollout = line.has('start')
    ? ((await control('POST', `/rollouts/${created.id}/start`)) as Rollout)
    : created;
  return { json: rollout, text: `${rollout.id} is ${rollout.state}` };
}

function readPhase(text: string, line: CommandLine): object {
  const [, percentage, soak = '0'] = /^(\d{1,3})(?::(\d{1,7}))?$/u.exec(text) ?? [];
  if (percentage === undefined)
    throw misuse(`--phase ${text} is no share`, 'give --phase PERCENT or PERCENT:SECONDS');
  const successPercent = line.optionalNumber('success');
  const failurePercent = line.optionalNumber('failure');
  return {
    percentage: Number(percentage),
    soakSeconds: Number(soak),
    ...(successPercent === undefined ? {} : { successPercent }),
    ...(failurePercent === undefined ? {} : { failurePercent }),
  };
}

function describeRollout({ counts, ...rollout }: CountedRollout): string {
  const rows = rollout.phases.map((phase, at) => {
    const own = counts[at];
    const states = own === undefined ? [] : [own.waiting, own.assigned, own.succeeded, own.failed];
    const size = own === undefined ? '0' : String(sizeOf(own));
    const mark = at === rollout.phase && rollout.state === 'running' ? '>' : '';
    return [mark, phase.name, `${String(phase.percentage)} %`, size, ...states.map(String)];
  });
  const head = ['', 'phase', 'up to', 'devices', 'waiting', 'assigned', 'succeeded', 'failed'];
  return [
    `${rollout.id} ${rollout.name}: ${rollout.image}, ${rollout.state}, ${rollout.reason}`,
    table(head, rows),
  ].join('\n');
}
