/** The operator's commands: each is one call of the control API, or two. */
import { resolve } from 'node:path';

import type { ActiveFault } from '../faults.ts';
import type { FaultRow } from '../faults/row.ts';
import type { DeviceTraffic, RequestLine } from '../gateway/traffic.ts';
import type { EventRecord, ManifestRecord } from '../gateway/reports.ts';
import type { Image } from '../metadata/image-content.ts';
import type { IssuedCertificate } from '../pki/device-ca.ts';
import type { Device } from '../state/devices.ts';
import {
  assign,
  publish,
  publishCommit,
  sendSecret,
  switchFault,
  type Command,
} from './actions.ts';
import { misuse, type Shape } from './command-line.ts';
import { OFFLINE_COMMANDS } from './offline.ts';
import { ROLLOUT_COMMANDS } from './rollouts.ts';
import { describeDevice, describeEvent, describeManifest, lines, table } from './render.ts';

const NONE: Pick<Shape, 'usage' | 'options' | 'words'> = { usage: '', options: [], words: [0, 0] };
const ONE_DEVICE: Pick<Shape, 'usage' | 'options' | 'words'> = {
  usage: 'DEVICE',
  options: [],
  words: [1, 1],
};

export const COMMANDS: Readonly<Record<string, Command>> = {
  status: {
    ...NONE,
    what: 'addresses, versions, active faults',
    run: async (control) => {
      const status = await control('GET', '/status');
      return { json: status, text: JSON.stringify(status, undefined, 2) };
    },
  },
  publish: {
    usage:
      'FILE --name NAME --hardware-id HW… --version V [--role R] [--release-counter N] [--compress C] [--encrypt]',
    options: [
      'name',
      'hardware-id',
      'version',
      'format',
      'role',
      'release-counter',
      'compress',
      'encrypt',
    ],
    words: [1, 1],
    what: 'add an image to the Image repository',
    run: publish,
  },
  'publish-commit': {
    usage: 'COMMIT --name NAME --hardware-id HW… --version V [--role R] [--release-counter N]',
    options: ['name', 'hardware-id', 'version', 'role', 'release-counter'],
    words: [1, 1],
    what: 'add an OSTree commit to the Image repository, by its checksum',
    run: publishCommit,
  },
  treehub: {
    usage: 'DIR',
    options: [],
    words: [1, 1],
    what: 'serve the OSTree repository (archive mode) in DIR below /treehub/',
    run: async (control, line) => {
      const treehub = resolve(line.word(0));
      await control('PUT', '/settings', { treehub });
      return { json: { treehub }, text: `/treehub/ is ${treehub}` };
    },
  },
  images: {
    ...NONE,
    what: 'published images',
    run: async (control) => {
      const images = (await control('GET', '/images')) as readonly Image[];
      const rows = images.map((one) => [
        one.filename,
        String(one.lengthBytes),
        one.hardwareIds.join(' '),
        one.role ?? 'targets',
        one.sha256,
      ]);
      return { json: images, text: table(['name', 'bytes', 'hardware', 'role', 'sha256'], rows) };
    },
  },
  delegate: {
    usage: 'ROLE --path PATTERN… [--terminating]',
    options: ['path', 'terminating'],
    words: [1, 1],
    what: 'add a delegated role to the Image repository',
    run: async (control, line) => {
      const paths = line.list('path');
      if (paths.length === 0) throw misuse('--path is missing', 'give --path PATTERN, as in abc/*');
      const body = { name: line.word(0), paths, terminating: line.has('terminating') };
      const role = await control('POST', '/delegations', body);
      return { json: role, text: `${body.name} signs for ${paths.join(' ')}` };
    },
  },
  assign: {
    usage: 'DEVICE NAME… [--ecu SERIAL]',
    options: ['ecu'],
    words: [2, 20],
    what: 'decide what a device shall run',
    run: assign,
  },
  secret: {
    usage: 'DEVICE NAME FILE',
    options: [],
    words: [3, 3],
    what: 'send the content of a file, encrypted to the device; - takes the secret back',
    run: sendSecret,
  },
  cancel: {
    ...ONE_DEVICE,
    what: 'tell a device to install nothing',
    run: async (control, line) => {
      await control('DELETE', `/devices/${encodeURIComponent(line.word(0))}/assignment`);
      return { json: { device: line.word(0) }, text: `${line.word(0)} has no assignment` };
    },
  },
  devices: {
    ...NONE,
    what: 'devices, their ECUs and assignments',
    run: async (control) => {
      const devices = (await control('GET', '/devices')) as readonly Device[];
      return { json: devices, text: lines(devices.flatMap(describeDevice), 'no device was here') };
    },
  },
  manifests: {
    ...ONE_DEVICE,
    what: 'manifests received, with verdicts',
    run: async (control, line) => {
      const path = `/devices/${encodeURIComponent(line.word(0))}/manifests`;
      const manifests = (await control('GET', path)) as readonly ManifestRecord[];
      return { json: manifests, text: lines(manifests.map(describeManifest), 'no manifest yet') };
    },
  },
  events: {
    ...ONE_DEVICE,
    what: 'events received',
    run: async (control, line) => {
      const path = `/devices/${encodeURIComponent(line.word(0))}/events`;
      const events = (await control('GET', path)) as readonly EventRecord[];
      return { json: events, text: lines(events.map(describeEvent), 'no event yet') };
    },
  },
  rotate: {
    usage:
      'director|image [root|targets|snapshot|timestamp|offline-snapshot|offline-updates] [--key-type TYPE]',
    options: ['key-type'],
    words: [1, 2],
    what: 'new keys for a role, and the next root',
    run: async (control, line) => {
      const [repo, role = 'root'] = line.words;
      const keyType = line.optionalText('key-type');
      const body = { repo, role, ...(keyType === undefined ? {} : { keyType }) };
      const answer = (await control('POST', '/rotations', body)) as {
        readonly rootVersion: number;
      };
      const text = `${line.word(0)} root is now version ${String(answer.rootVersion)}`;
      return { json: answer, text };
    },
  },
  refresh: {
    usage: '[timestamp|snapshot|targets] [--device DEVICE]',
    options: ['device'],
    words: [0, 1],
    what: 'sign metadata anew: the Image repository, or a device’s Director metadata',
    run: async (control, line) => {
      const device = line.optionalText('device');
      const [role = 'timestamp'] = line.words;
      const body = { role, ...(device === undefined ? {} : { device }) };
      const versions = await control('POST', '/refresh', body);
      return { json: versions, text: JSON.stringify(versions) };
    },
  },
  fault: {
    usage: 'NAME [--device DEVICE] [--parameter NAME=VALUE]… [--off]',
    options: ['device', 'parameter', 'off'],
    words: [1, 1],
    what: 'switch a fault on or off',
    run: switchFault,
  },
  faults: {
    ...NONE,
    what: 'all faults, and which are on',
    run: async (control) => {
      const answer = (await control('GET', '/faults')) as {
        readonly faults: readonly (FaultRow & { readonly name: string })[];
        readonly active: readonly ActiveFault[];
      };
      const isOn = (name: string): boolean => answer.active.some((one) => one.name === name);
      const rows = answer.faults.map(({ name, attack, what, code }) => [
        isOn(name) ? 'on' : '',
        name,
        attack,
        what,
        code,
      ]);
      const head = ['', 'fault', 'attack', 'what goes out', 'what the agent says'];
      return { json: answer, text: table(head, rows) };
    },
  },
  stats: {
    usage: '[--reset]',
    options: ['reset'],
    words: [0, 0],
    what: 'connections, requests and bytes of each device',
    run: async (control, line) => {
      if (line.has('reset')) {
        await control('DELETE', '/stats');
        return { json: {}, text: 'counting from zero' };
      }
      const stats = (await control('GET', '/stats')) as {
        readonly devices: Readonly<Record<string, DeviceTraffic>>;
      };
      const rows = Object.entries(stats.devices).map(([device, one]) =>
        [device, one.connections, one.sessionsReused, one.requests, one.bytesIn, one.bytesOut].map(
          String,
        ),
      );
      const head = ['device', 'connections', 'resumed', 'requests', 'bytes in', 'bytes out'];
      return { json: stats, text: table(head, rows) };
    },
  },
  requests: {
    usage: '[--device DEVICE]',
    options: ['device'],
    words: [0, 0],
    what: 'requests of devices, in order',
    run: async (control, line) => {
      const device = line.optionalText('device');
      const query = device === undefined ? '' : `?device=${encodeURIComponent(device)}`;
      const requests = (await control('GET', `/requests${query}`)) as readonly RequestLine[];
      const rows = requests.map((one) => [
        one.at,
        one.device,
        one.method,
        one.path,
        String(one.status),
      ]);
      return { json: requests, text: table(['at', 'device', 'method', 'path', 'status'], rows) };
    },
  },
  ...OFFLINE_COMMANDS,
  ...ROLLOUT_COMMANDS,
  'enrol-secret': {
    ...NONE,
    what: 'a new enrolment secret, good for one certificate',
    run: async (control) => {
      const answer = (await control('POST', '/enrol-secrets')) as { readonly secret: string };
      return { json: answer, text: answer.secret };
    },
  },
  revoke: {
    usage: 'DEVICE',
    options: [],
    words: [1, 1],
    what: 'revoke every certificate of a device',
    run: async (control, line) => {
      const all = (await control('GET', '/certificates')) as readonly IssuedCertificate[];
      const own = all.filter((one) => one.deviceId === line.word(0) && one.revokedAt === undefined);
      for (const { serial } of own) await control('DELETE', `/certificates/${serial}`);
      const serials = own.map((one) => one.serial);
      return { json: { revoked: serials }, text: `revoked ${String(serials.length)} certificates` };
    },
  },
};
