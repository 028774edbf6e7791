/**
 * Secrets from the gateway: registered key out, values encrypted to it in, files in memory.
 *
 * `GET /secrets` answers `{"key": KID, "version": N, "secrets": {NAME: JWE}}`; `PUT /secrets/key`
 * takes `{"key": JWK}`. TLS with the device's identity says who asks; each JWE says, authenticated,
 * for whom, under which name and in which version it was made, so that whoever keeps them cannot
 * exchange or bring back any.
 */
import { Fields, parseJson } from '../../decode.ts';
import { isOtaError, OtaError } from '../../errors.ts';
import type { Ask } from '../gateway-request.ts';
import { JweRefused, openJwe, thumbprint, type PublicJwk, type Recipient } from './jwe.ts';

/** The key that others encrypt to, and what its token does with it. */
export type SecretsKey = Recipient & { readonly jwk: PublicJwk };

export interface Receiving {
  readonly ask: Ask;
  readonly deviceId: string;
  readonly key: SecretsKey;
  /** The highest version that was ever taken; 0 before the first. */
  readonly lastVersion: number;
}

export interface Received {
  /** 0: this gateway keeps no secrets for this device. */
  readonly version: number;
  readonly secrets: ReadonlyMap<string, Buffer>;
}

const PATH = '/secrets';
const ABSENT = 404;
const MAX_SECRETS = 256;
/** A name that no shell and no file system reads in another way; it does not begin with a dot. */
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/u;

/**
 * All secrets of this device, opened; none is handed out unless all of them are right.
 *
 * @throws OtaError SECRET_REFUSED, GATEWAY_*, TOKEN_*
 */
export async function receiveSecrets(all: Receiving): Promise<Received> {
  try {
    return await receive(all);
  } catch (cause) {
    const problem = problemOf(cause);
    if (problem === undefined) throw cause;
    throw refused('', problem, 'mend what answers for secrets.url', cause);
  }
}

async function receive(all: Receiving): Promise<Received> {
  const kid = thumbprint(all.key.jwk);
  let offered = await fetchSecrets(all);
  if (offered !== undefined && offered.optionalString('key') !== kid) {
    await registerKey(all, kid);
    offered = await fetchSecrets(all);
  }
  if (offered === undefined) return { version: 0, secrets: new Map() };
  if (offered.optionalString('key') !== kid) {
    throw refused(
      '',
      'the gateway goes on encrypting to another key',
      'see the log of the gateway',
    );
  }
  const version = offered.integer('version', 0);
  if (version < all.lastVersion) {
    const problem = `version ${String(version)} is older than ${String(all.lastVersion)}, which was here`;
    throw refused('', problem, 'somebody brings old secrets back: find out who');
  }
  return { version, secrets: openAll(offered.object('secrets'), version, all) };
}

function openAll(
  sent: Fields,
  version: number,
  { key, deviceId }: Receiving,
): ReadonlyMap<string, Buffer> {
  if (sent.size > MAX_SECRETS) {
    throw refused('', `${String(sent.size)} secrets`, `send at most ${String(MAX_SECRETS)}`);
  }
  const claims = { sub: deviceId, version };
  const names = [...sent.entries()].map(([name]) => name);
  return new Map(names.map((name) => [name, openOne(name, sent.string(name), key, claims)]));
}

interface Claims {
  readonly sub: string;
  readonly version: number;
}

function openOne(name: string, jwe: string, key: SecretsKey, claims: Claims): Buffer {
  if (!NAME.test(name)) {
    const remedy = 'name it with 1 to 64 of A-Z a-z 0-9 . _ -, and no dot first';
    throw refused(name, 'its name cannot be that of a file here', remedy);
  }
  try {
    const { header, content } = openJwe(jwe, key);
    demandClaim('sub', claims.sub, header.string('sub'));
    demandClaim('name', name, header.string('name'));
    demandClaim('version', claims.version, header.integer('version', 0));
    return content;
  } catch (cause) {
    const problem = problemOf(cause);
    if (problem === undefined) throw cause;
    throw refused(name, problem, 'encrypt it again, to the key that the device registered', cause);
  }
}

function problemOf(error: unknown): string | undefined {
  if (error instanceof JweRefused) return error.message;
  if (!isOtaError(error) || error.code !== 'METADATA_MALFORMED') return undefined;
  return `${error.details.path} must be ${error.details.want}`;
}

/** Else one secret could be passed off as another, or as one of another device. */
function demandClaim(name: string, want: string | number, offered: string | number): void {
  if (offered === want) return;
  throw new JweRefused(`its ${name} is ${String(offered)}, want ${String(want)}`);
}

async function fetchSecrets({ ask }: Receiving): Promise<Fields | undefined> {
  const { status, body } = await ask('GET', PATH);
  if (status === ABSENT) return undefined;
  if (status !== 200) throw answered('GET', PATH, status, body);
  return new Fields(parseJson(body, PATH), PATH);
}

async function registerKey({ ask, key: { jwk, alg } }: Receiving, kid: string): Promise<void> {
  const key = { ...jwk, kid, use: 'enc', alg };
  const path = `${PATH}/key`;
  const { status, body } = await ask('PUT', path, Buffer.from(JSON.stringify({ key })));
  if (status !== 200 && status !== 204) throw answered('PUT', path, status, body);
}

function answered(
  method: string,
  path: string,
  status: number,
  body: Uint8Array,
): OtaError<'GATEWAY_ANSWER'> {
  const answer = Buffer.from(body).toString('utf8', 0, 200);
  return new OtaError('GATEWAY_ANSWER', { url: `${method} ${path}`, status, answer });
}

function refused(
  secret: string,
  problem: string,
  remedy: string,
  cause?: unknown,
): OtaError<'SECRET_REFUSED'> {
  return new OtaError('SECRET_REFUSED', { secret, problem, remedy }, { cause });
}
