/** For tests and demonstrations: the Director as a child process, and a typed hand on its controls. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { callControl } from './control/client.ts';
import type { Addresses } from './control/parts.ts';
import type { Image } from './metadata/image-content.ts';
import type { IssuedCertificate } from './pki/device-ca.ts';
import type { FaultName } from './faults.ts';
import type { Parameters } from './faults/row.ts';
import type { Dialect } from './metadata/dialect.ts';
import type { KeyType } from './signing.ts';
import type { Assignment } from './state/devices.ts';
import type { Compression } from './state/pack.ts';
import { readState } from './state/state-file.ts';

export interface StartOptions {
  readonly stateDir: string;
  readonly keyType?: KeyType;
  readonly imageDialect?: Dialect;
  readonly port?: number;
  readonly enrolPort?: number;
  readonly host?: string;
  /** For DATABASE_URL. */
  readonly database?: string;
  /** IMAGES_S3_URL and what goes with it. */
  readonly env?: Readonly<Record<string, string>>;
  readonly requestTimeoutSeconds?: number;
  /** Serves the page for people, too. */
  readonly page?: boolean;
  /** One more gateway beside the Director that runs over the directory. */
  readonly join?: boolean;
}

export interface PublishOptions {
  /** The file to publish. */
  readonly path: string;
  /** Under which name; may contain `/`. */
  readonly name: string;
  readonly hardwareIds: readonly string[];
  readonly version: string;
  readonly format?: string;
  readonly releaseCounter?: number;
  /** A delegated role, added before. */
  readonly role?: string;
  /** For each device that it is assigned to, for that device alone. */
  readonly encrypt?: boolean;
  readonly uri?: string;
  readonly custom?: object;
  /** Publishes the file packed, and says so in its custom fields. */
  readonly compression?: Compression;
}

/** What a device needs of a Director: where it is, and what to believe. */
export interface DirectorPlaces {
  readonly gatewayUrl: string;
  readonly enrolUrl: string;
  /** PEM file with the CA of both servers. */
  readonly caPath: string;
  /** File with `device:RANDOM`. */
  readonly enrolSecretPath: string;
  readonly directorRootPath: string;
  readonly imageRootPath: string;
}

export interface DirectorHandle extends DirectorPlaces {
  /** Of the page, with the operator's token; empty when there is none. */
  readonly pageUrl: string;
  /** Who signs the time, and the file with its keys. */
  readonly timeUrl: string;
  readonly timeKeysPath: string;
  readonly stateDir: string;
  readonly pid: number;
  /** The end of what it said on standard error. */
  said(): string;
  /**
   * One call of the control API.
   *
   * @returns the decoded answer; `undefined` when it is empty
   * @throws ControlFailure with `status` and `code` when the answer is not success
   */
  control(method: string, path: string, body?: object): Promise<unknown>;
  publish(image: PublishOptions): Promise<Image>;
  /** An OSTree commit, by its checksum. */
  publishCommit(image: Omit<PublishOptions, 'path'> & { readonly commit: string }): Promise<Image>;
  assign(device: string, image: string, ecu?: string): Promise<Assignment>;
  /** @param options - `device` narrows it; `parameters` as the list of faults has them */
  fault(
    name: FaultName,
    turn: 'on' | 'off',
    options?: { readonly device?: string; readonly parameters?: Parameters },
  ): Promise<void>;
  /** @param csr - PEM */
  certify(
    csr: string,
    dates?: { readonly notBefore?: string; readonly notAfter?: string },
  ): Promise<IssuedCertificate>;
  /** Ends the process and waits for it. A second call does nothing. */
  stop(): Promise<void>;
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
}

/** Starts `main.ts` and waits until it serves. It ends with this process, even if that is killed. */
export async function startDirector(options: StartOptions): Promise<DirectorHandle> {
  const child = spawn(process.execPath, [...mainArguments(options)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, DATABASE_URL: options.database ?? '', ...options.env },
  });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-65_536);
  });
  const complaints = (): string => complaint;
  const line = await readiness(child, complaints);
  const ready = join(options.stateDir, 'gateway.json');
  const said = options.page === true ? await readFile(ready, 'utf8') : line;
  const handle = handleOf(child, JSON.parse(said) as Addresses, options.stateDir);
  return { ...handle, said: complaints, pageUrl: options.page === true ? line : '' };
}

function mainArguments(options: StartOptions): readonly string[] {
  const given = {
    '--host': options.host,
    '--port': options.port,
    '--enrol-port': options.enrolPort,
    '--key-type': options.keyType,
    '--image-dialect': options.imageDialect,
    '--request-timeout': options.requestTimeoutSeconds,
  };
  const optional = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [name, String(value)],
  );
  const main = join(import.meta.dirname, 'main.ts');
  return [
    main,
    '--state',
    options.stateDir,
    '--while-stdin',
    ...(options.join === true ? ['--join'] : []),
    ...(options.page === true ? ['--page'] : []),
    ...optional,
  ];
}

/** The first line of standard output, or what it said before it ended. */
async function readiness(child: ChildProcess, complaints: () => string): Promise<string> {
  if (child.stdout === null) throw new Error('the Director has no standard output');
  const lines = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit')])) as [unknown];
  if (typeof line === 'string') return line;
  throw new Error(`the Director did not start:\n${complaints()}`);
}

function handleOf(
  child: ChildProcess,
  addresses: Addresses,
  stateDir: string,
): Omit<DirectorHandle, 'pageUrl' | 'said'> {
  const control: DirectorHandle['control'] = (method, path, body) =>
    callControl(addresses.control, method, path, body);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
  return {
    ...placesOf(addresses, stateDir),
    timeUrl: `${addresses.gateway}/director/time`,
    timeKeysPath: join(stateDir, 'time-keys.json'),
    stateDir,
    pid: addresses.pid,
    control,
    publish: async (image) => (await control('POST', '/images', image)) as Image,
    publishCommit: async (image) => (await control('POST', '/images', image)) as Image,
    assign: async (device, image, ecu) =>
      (await control('POST', '/assignments', {
        device,
        image,
        ...(ecu === undefined ? {} : { ecu }),
      })) as Assignment,
    fault: async (name, turn, { device, parameters } = {}) => {
      const query = device === undefined ? '' : `?device=${encodeURIComponent(device)}`;
      if (turn === 'off') await control('DELETE', `/faults/${name}${query}`);
      else await control('PUT', `/faults/${name}${query}`, { parameters: parameters ?? {} });
    },
    certify: async (csr, dates = {}) =>
      (await control('POST', '/certificates', { csr, ...dates })) as IssuedCertificate,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

/**
 * Of the Director that runs over a state directory, whoever started it.
 *
 * @returns `undefined` when none does
 */
export function findDirector(stateDir: string): DirectorPlaces | undefined {
  const addresses = readState(join(stateDir, 'gateway.json')) as Addresses | undefined;
  return addresses === undefined ? undefined : placesOf(addresses, stateDir);
}

function placesOf(addresses: Addresses, stateDir: string): DirectorPlaces {
  return {
    gatewayUrl: addresses.gateway,
    enrolUrl: addresses.enrol,
    caPath: addresses.ca,
    enrolSecretPath: join(stateDir, 'enrol-secret'),
    directorRootPath: join(stateDir, 'director', '1.root.json'),
    imageRootPath: join(stateDir, 'image', '1.root.json'),
  };
}

/** The enrolment secret of a state directory, `device:RANDOM`. */
export async function readEnrolSecret(handle: DirectorHandle): Promise<string> {
  return (await readFile(handle.enrolSecretPath, 'utf8')).trim();
}
