/** Secrets that are known when they are seen, and ways to see them: what is said, written, or shown of a process. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { join } from 'node:path';

import type { DirectorHandle } from '../director/start.ts';

const mark = (name: string): string => `${name}-${randomBytes(8).toString('hex')}`;
/** Every PIN that a test uses: right, wrong and never tried. */
export const PINS = {
  user: mark('u'),
  so: mark('s'),
  wrong: mark('w'),
  inCredential: mark('c'),
};
/** What else passes through the agent, or stands where operators put it. */
export const OTHERS = {
  inhibitorArgument: mark('inhibitor'),
  healthArgument: mark('health'),
  rebootArgument: mark('reboot'),
  changeArgument: mark('change'),
  installerArgument: mark('installer'),
  environment: mark('environment'),
  proxyPassword: mark('proxy'),
  mirrorPassword: mark('mirror'),
  gatewayToken: mark('gateway'),
  deviceSecret: mark('secret'),
  enrolmentPassword: mark('enrolment'),
  encryptedImage: mark('image'),
};
/** Both repositories sign where an image is, so it is in the metadata that the agent keeps. */
export const SIGNED = { imagePassword: mark('user'), imageToken: mark('token') };

export const ALL = { ...PINS, ...OTHERS, ...SIGNED };

/** Of the API of a daemon that runs. */
export const ASKED = [
  ['GET', '/v1/status'],
  ['GET', '/v1/history'],
  ['GET', '/openapi.json'],
  ['POST', '/v1/check'],
  ['POST', '/v1/confirm'],
  ['POST', '/v1/rotate/cancel'],
  ['POST', '/v1/pause'],
  ['GET', '/metrics'],
] as const;

/** What a listener is told of one cycle. */
export async function eventsOfCycle(socketPath: string): Promise<string> {
  const request = httpRequest({ socketPath, path: '/v1/events' }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  await ask(socketPath, 'POST', '/v1/update');
  let text = '';
  for await (const part of response) {
    text += String(part);
    if (text.includes('event: cycle')) break;
  }
  return text;
}

/** Everything that a Director was sent by its device, and what it said of it. */
export async function receivedBy(
  director: DirectorHandle,
): Promise<readonly { readonly of: string; readonly text: string }[]> {
  const get = (path: string): Promise<unknown> => director.control('GET', path);
  // system_info, core/installed and so on: whatever of them was sent.
  const { telemetry } = (await get('/devices/device-1')) as { readonly telemetry: object };
  const paths = ['/devices/device-1/manifests', '/devices/device-1/events', '/requests'];
  const answers = await Promise.all(paths.map(get));
  return [
    { of: 'telemetry', text: JSON.stringify(telemetry) },
    ...answers.map((answer, at) => ({ of: paths[at] ?? '', text: JSON.stringify(answer) })),
    { of: 'the log of the Director', text: director.said() },
  ];
}

/** As it is, or in a form that programs turn texts into. */
export function shows(bytes: Buffer, secrets: Readonly<Record<string, string>>): boolean {
  return Object.values(secrets).some((pin) => {
    const text = Buffer.from(pin);
    // Base64 of what surrounds a text differs by its place; of three places one is ours.
    const base64 = [0, 1, 2].map((offset) =>
      Buffer.concat([Buffer.alloc(offset), text])
        .toString('base64')
        .slice(offset === 0 ? 0 : 4, -4),
    );
    const forms = [pin, text.toString('hex'), text.toString('hex').toUpperCase(), ...base64];
    const wide = Buffer.from(pin, 'utf16le');
    return bytes.includes(wide) || forms.some((form) => bytes.includes(form));
  });
}

export function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile());
}

export function childrenOf(pid: number): number[] {
  return readProcess(pid, `task/${String(pid)}/children`)
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

/** Empty for a process that has just ended. */
export function readProcess(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${String(pid)}/${name}`, 'latin1');
  } catch (error) {
    assert.ok(error instanceof Error && /^(ENOENT|ESRCH)/u.test(error.message));
    return '';
  }
}

export async function ask(socketPath: string, method: string, path: string): Promise<string> {
  const request = httpRequest({ socketPath, method, path }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = JSON.stringify(response.headers);
  for await (const chunk of response) text += String(chunk);
  return text;
}
