/** One Director for a test file, in a directory that is gone afterwards. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ControlFailure } from '../director/control/client.ts';
import { SimulatedDevice, type Answer } from '../director/simulated/device.ts';
import { type SimulatedEcu } from '../director/simulated/ecus.ts';
import type { Served } from '../director/faults/forgery.ts';
import { startDirector, type DirectorHandle, type StartOptions } from '../director/start.ts';
import type { Device } from '../director/state/devices.ts';

export interface Fixture {
  /** A device with a certificate; its connection ends with the fixture. */
  readonly newDevice: (id: string, ecus?: readonly SimulatedEcu[]) => Promise<SimulatedDevice>;
  /** For the state directory, images and what else a test makes. */
  readonly directory: string;
  readonly director: DirectorHandle;
  /** Stops the Director and removes the directory. */
  readonly end: () => Promise<void>;
}

export async function startFixture(options: Omit<StartOptions, 'stateDir'> = {}): Promise<Fixture> {
  const directory = mkdtempSync(join(tmpdir(), 'director-test-'));
  const director = await startDirector({ stateDir: join(directory, 'state'), ...options });
  const devices: SimulatedDevice[] = [];
  return {
    directory,
    director,
    newDevice: async (id, ecus) => {
      const device = await SimulatedDevice.create(director, id, ecus);
      devices.push(device);
      return device;
    },
    end: async () => {
      for (const device of devices) device.close();
      await director.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface PublishedImage {
  readonly filename: string;
  readonly content: Buffer;
  readonly sha256: string;
}

/** Publishes `content` for `hardwareIds`. */
export async function publishImage(
  { directory, director }: Fixture,
  filename: string,
  content: Buffer,
  hardwareIds: readonly string[] = ['primary-hw'],
): Promise<PublishedImage> {
  const path = join(directory, 'to-publish');
  writeFileSync(path, content);
  const { sha256 } = await director.publish({ path, name: filename, hardwareIds, version: '1.0' });
  return { filename, content, sha256 };
}

export async function controlRefuses(
  act: Promise<unknown>,
  status: number,
  code: string,
): Promise<void> {
  await assert.rejects(act, (error: unknown) => {
    assert.ok(error instanceof ControlFailure, String(error));
    assert.deepEqual({ status: error.status, code: error.code }, { status, code });
    return true;
  });
}

/** Asserts on status and code of a gateway's answer; a refusal also says why, and has an id. */
export function answered(answer: Answer, status: number, code?: string): void {
  const { code: given, description, errorId } = (answer.json ?? {}) as Record<string, unknown>;
  assert.deepEqual({ status: answer.status, code: given }, { status, code });
  if (code === undefined) return;
  assert.equal(typeof description, 'string');
  assert.match(String(errorId), /^[0-9a-f-]{36}$/u);
}

/** Everything one repository serves a device now, delegations aside. */
export async function servedTo(
  device: SimulatedDevice,
  repo: 'director' | 'repo',
  roots: number,
): Promise<Served> {
  const text = async (name: string): Promise<string> => {
    const answer = await device.get(`/${repo}/${name}.json`);
    assert.equal(answer.status, 200, name);
    assert.match(answer.headers['content-type'] ?? '', /^application\/json/u);
    return answer.body.toString();
  };
  const chain: string[] = [];
  for (let at = 1; at <= roots; at += 1) chain.push(await text(`${String(at)}.root`));
  const timestamp = await text('timestamp');
  const snapshot = await text('snapshot');
  const targets = await text('targets');
  return { roots: chain, set: { targets, snapshot, timestamp, delegations: {} } };
}

export async function deviceState({ director }: Fixture, id: string): Promise<Device> {
  return (await director.control('GET', `/devices/${id}`)) as Device;
}
