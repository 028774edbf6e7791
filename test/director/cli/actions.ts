/** The commands that take more than one step. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import type { ActiveFault } from '../faults.ts';
import type { Image } from '../metadata/image-content.ts';
import type { Assignment } from '../state/devices.ts';
import { misuse, type CommandLine, type Shape } from './command-line.ts';

/** What a command prints: `json` for programs, `text` for people. */
export interface Output {
  readonly json: unknown;
  readonly text: string;
}

export type Control = (method: string, path: string, body?: object) => Promise<unknown>;

export interface Command extends Shape {
  readonly what: string;
  readonly run: (control: Control, line: CommandLine) => Promise<Output>;
}

export function publish(control: Control, line: CommandLine): Promise<Output> {
  return publishAs({ path: resolve(line.word(0)) }, control, line);
}

export function publishCommit(control: Control, line: CommandLine): Promise<Output> {
  return publishAs({ commit: line.word(0) }, control, line);
}

async function publishAs(content: object, control: Control, line: CommandLine): Promise<Output> {
  const hardwareIds = line.list('hardware-id');
  if (hardwareIds.length === 0) throw misuse('--hardware-id is missing', 'give --hardware-id HW');
  const optional = {
    ...('path' in content ? { format: line.optionalText('format') } : {}),
    encrypt: line.has('encrypt') ? true : undefined,
    role: line.optionalText('role'),
    compression: line.optionalText('compress'),
    releaseCounter: line.optionalNumber('release-counter'),
  };
  const image = (await control('POST', '/images', {
    ...content,
    name: line.text('name'),
    hardwareIds,
    version: line.text('version'),
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  })) as Image;
  const text = `${image.filename}: ${String(image.lengthBytes)} bytes, sha256 ${image.sha256}`;
  return { json: image, text };
}

export async function assign(control: Control, line: CommandLine): Promise<Output> {
  const [device = '', ...images] = line.words;
  const ecu = line.optionalText('ecu');
  const targets = images.map((image) => ({ image, ...(ecu === undefined ? {} : { ecus: [ecu] }) }));
  const assignment = (await control('POST', '/assignments', { device, targets })) as Assignment;
  const text = assignment.targets.map(
    ({ filename, ecus }) => `${filename} for ${Object.keys(ecus).join(', ')}`,
  );
  return { json: assignment, text: [...text, assignment.correlationId].join('\n') };
}

export async function sendSecret(control: Control, line: CommandLine): Promise<Output> {
  const [device = '', name = '', file = ''] = line.words;
  const path = `/devices/${encodeURIComponent(device)}/secrets/${encodeURIComponent(name)}`;
  if (file === '-') {
    await control('DELETE', path);
    return { json: { device, name }, text: `${device} has no ${name} any more` };
  }
  const value = readFileSync(file).toString('base64');
  const kept = (await control('PUT', path, { value })) as { readonly version: number };
  return { json: kept, text: `${name} for ${device}, version ${String(kept.version)}` };
}

export async function switchFault(control: Control, line: CommandLine): Promise<Output> {
  const name = line.word(0);
  const device = line.optionalText('device');
  const query = device === undefined ? '' : `?device=${encodeURIComponent(device)}`;
  const path = `/faults/${encodeURIComponent(name)}${query}`;
  if (line.has('off')) {
    const answer = (await control('DELETE', path)) as { readonly switchedOff: number };
    return { json: answer, text: answer.switchedOff > 0 ? `${name} is off` : `${name} was not on` };
  }
  const parameters = Object.fromEntries(line.list('parameter').map(readParameter));
  const fault = (await control('PUT', path, { parameters })) as ActiveFault;
  const given = Object.entries(fault.parameters).map(([key, value]) => ` ${key}=${String(value)}`);
  return { json: fault, text: `${name} is on for ${device ?? 'every device'}${given.join('')}` };
}

function readParameter(text: string): readonly [string, number | string] {
  const [, name = '', value = ''] = /^([^=]+)=(.*)$/u.exec(text) ?? [];
  if (name === '') throw misuse(`--parameter ${text} has no value`, 'give --parameter NAME=VALUE');
  return [name, /^\d{1,15}$/u.test(value) ? Number(value) : value];
}
