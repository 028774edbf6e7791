/** The command line of `main.ts`. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { DirectorFailure, reasonOf } from '../failure.ts';
import { DIALECTS, type Dialect } from '../metadata/dialect.ts';
import type { ObjectStoreSettings } from '../state/object-store.ts';
import { KEY_TYPES, type KeyType } from '../signing.ts';

export interface Arguments {
  /** Absolute. */
  readonly stateDir: string;
  readonly host: string;
  readonly port: number;
  readonly enrolPort: number;
  readonly keyType: KeyType;
  readonly imageDialect: Dialect;
  /** More names and addresses for the server certificate. */
  readonly names: readonly string[];
  /** One more server for devices, beside the one that has the directory. */
  readonly join: boolean;
  /** For how long a device may send one request. */
  readonly requestTimeoutMs: number;
  /** Serve the page for people, and print its URL instead of the addresses. */
  readonly page: boolean;
  readonly pagePort: number;
  readonly pageHost: string;
  /** `postgres://…`; absent: an SQLite file in the state directory. */
  readonly database: string | undefined;
  /** Absent: published images are files in the state directory. */
  readonly objectStore: ObjectStoreSettings | undefined;
  /** End when standard input ends: for parents that may be killed. */
  readonly whileStdin: boolean;
}

export const USAGE = `usage: node test/director/main.ts --state DIR [options]

  --state DIR        where everything is kept; made on the first start
  --host ADDRESS     listen there (127.0.0.1)
  --port N           device gateway; 0 takes a free port, the same again next time (0)
  --enrol-port N     EST enrolment (0)
  --key-type TYPE    of new role keys: ${KEY_TYPES.join(' or ')} (ed25519)
  --image-dialect D  of the Image repository, on the first start: ${DIALECTS.join(' or ')} (uptane)
  --name NAME        one more name or address in the server certificate; may be repeated
  --request-timeout SECONDS  how long a device may send one request (120)
  --page             the page for people; prints its URL alone
  --page-port N      (0)
  --page-host ADDR   (127.0.0.1)
  --join             one more gateway beside the server that runs over DIR; its line has the address
  --while-stdin      end when standard input ends
  --help             this text

DATABASE_URL=postgres://… in the environment: devices and rollouts are kept there instead of in DIR
IMAGES_S3_URL=https://HOST/BUCKET, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION:
published images are kept in that bucket
`;

/** @throws DirectorFailure with exit code 2 */
export function parseArguments(args: readonly string[]): Arguments | 'help' {
  const values = readValues(args);
  if (values.help === true) return 'help';
  return {
    stateDir: stateDirOf(values.state),
    host: hostOf(values.host),
    port: portOf('--port', values.port ?? '0'),
    enrolPort: portOf('--enrol-port', values['enrol-port'] ?? '0'),
    keyType: oneOf('--key-type', values['key-type'] ?? 'ed25519', KEY_TYPES),
    imageDialect: oneOf('--image-dialect', values['image-dialect'] ?? 'uptane', DIALECTS),
    names: values.name ?? [],
    join: values.join ?? false,
    requestTimeoutMs: secondsOf('--request-timeout', values['request-timeout'] ?? '120') * 1000,
    ...pageOf(values),
    database: databaseOf(process.env['DATABASE_URL'] ?? ''),
    objectStore: objectStoreOf(process.env),
    whileStdin: values['while-stdin'] ?? false,
  };
}

interface Values {
  readonly state?: string;
  readonly host?: string;
  readonly port?: string;
  readonly 'enrol-port'?: string;
  readonly 'key-type'?: string;
  readonly 'image-dialect'?: string;
  readonly name?: readonly string[];
  readonly join?: boolean;
  readonly 'request-timeout'?: string;
  readonly page?: boolean;
  readonly 'page-port'?: string;
  readonly 'page-host'?: string;
  readonly 'while-stdin'?: boolean;
  readonly help?: boolean;
}

function readValues(args: readonly string[]): Values {
  try {
    return parseArgs({
      args: [...args],
      options: {
        state: { type: 'string' },
        host: { type: 'string' },
        port: { type: 'string' },
        'enrol-port': { type: 'string' },
        'key-type': { type: 'string' },
        'image-dialect': { type: 'string' },
        name: { type: 'string', multiple: true },
        join: { type: 'boolean' },
        'request-timeout': { type: 'string' },
        page: { type: 'boolean' },
        'page-port': { type: 'string' },
        'page-host': { type: 'string' },
        'while-stdin': { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (cause) {
    throw misuse(reasonOf(cause));
  }
}

function pageOf(values: Values): Pick<Arguments, 'page' | 'pagePort' | 'pageHost'> {
  return {
    page: values.page ?? false,
    pagePort: portOf('--page-port', values['page-port'] ?? '0'),
    pageHost: values['page-host'] ?? '127.0.0.1',
  };
}

function hostOf(host = '127.0.0.1'): string {
  return host === 'localhost' ? '127.0.0.1' : host;
}

function stateDirOf(path = ''): string {
  if (path === '') throw misuse('--state DIR is missing');
  return resolve(path);
}

/** Not an option: it has a password, and command lines are seen by everybody on a machine. */
function databaseOf(url: string): string | undefined {
  if (url === '') return undefined;
  if (/^postgres(?:ql)?:\/\//u.test(url)) return url;
  throw misuse('DATABASE_URL does not begin with postgres://');
}

/** Named as every client of S3 has them. */
function objectStoreOf(env: NodeJS.ProcessEnv): ObjectStoreSettings | undefined {
  const url = env['IMAGES_S3_URL'] ?? '';
  if (url === '') return undefined;
  if (!/^https?:\/\/[^/?#]+\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/u.test(url))
    throw misuse('IMAGES_S3_URL is not https://HOST/BUCKET');
  const accessKeyId = env['AWS_ACCESS_KEY_ID'] ?? '';
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY'] ?? '';
  if (accessKeyId === '' || secretAccessKey === '')
    throw misuse('IMAGES_S3_URL needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY');
  const sessionToken = env['AWS_SESSION_TOKEN'] ?? '';
  return {
    url,
    region: env['AWS_REGION'] ?? 'us-east-1',
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === '' ? {} : { sessionToken }),
  };
}

function portOf(option: string, text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/u.test(text) && port <= 65_535) return port;
  throw misuse(`${option} ${text} is not a port from 0 to 65535`);
}

function secondsOf(option: string, text: string): number {
  const seconds = Number(text);
  if (/^\d{1,5}$/u.test(text) && seconds >= 1) return seconds;
  throw misuse(`${option} ${text} is not 1 to 99999 seconds`);
}

function oneOf<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const chosen = choices.find((one) => one === text);
  if (chosen === undefined) throw misuse(`${option} ${text} is neither ${choices.join(' nor ')}`);
  return chosen;
}

function misuse(what: string): DirectorFailure {
  const remedy = 'see node test/director/main.ts --help';
  return new DirectorFailure(what, { where: 'command line', remedy, exitCode: 2 });
}
