/** Objects that the settings name by PKCS#11 URI: made by others, used by us, and left as they are. */
import { X509Certificate } from 'node:crypto';

import type graphene from 'graphene-pk11';

import { causeOf, OtaError } from '../../errors.ts';
import { CKA, CKO, type ObjectName } from './cryptoki.ts';
import { candidateOf, describe, matches } from './find-token.ts';
import { nameOf } from './generations.ts';
import { parseObjectUri } from './pkcs11-uri.ts';
import type { Token } from './token.ts';

/** As in the `identity` section of the settings. */
export interface NamedObjects {
  readonly tls_key?: string | undefined;
  readonly tls_certificate?: string | undefined;
  readonly uptane_key?: string | undefined;
}

/** What those names stand for in a token. */
export interface FoundObjects {
  readonly tls?: ObjectName;
  /** DER */
  readonly certificate?: Buffer;
  readonly uptane?: ObjectName;
}

/**
 * Finds every object that the settings name.
 *
 * @throws OtaError TOKEN_OBJECT if there is none, or several, with what there is
 */
export function findNamedObjects(token: Token, names: NamedObjects): FoundObjects {
  const { tls_key: tls, tls_certificate: certificate, uptane_key: uptane } = names;
  return {
    ...(tls === undefined ? {} : { tls: findNamedKey(token, 'identity.tls_key', tls) }),
    ...(uptane === undefined ? {} : { uptane: findNamedKey(token, 'identity.uptane_key', uptane) }),
    ...(certificate === undefined
      ? {}
      : { certificate: findCertificate(token, 'identity.tls_certificate', certificate) }),
  };
}

/**
 * The certificate that a URI names.
 *
 * @param setting - where the URI is written
 * @returns PEM
 * @throws OtaError TOKEN_OBJECT; CERTIFICATE_INVALID if it does not parse
 */
export function readNamedCertificate(token: Token, setting: string, uri: string): string {
  const der = findCertificate(token, setting, uri);
  try {
    return new X509Certificate(der).toString();
  } catch (cause) {
    const remedy = `put another one into the token, or correct ${setting}`;
    const details = { what: uri, problem: causeOf(cause), remedy };
    throw new OtaError('CERTIFICATE_INVALID', details, { cause });
  }
}

/**
 * The private key that a URI names.
 *
 * @param setting - where the URI is written
 * @throws OtaError TOKEN_OBJECT
 */
export function findNamedKey(token: Token, setting: string, uri: string): ObjectName {
  return findOne(token, { setting, uri, use: 'private key' }, ({ label, id }) =>
    nameOf({ label, id: id[0] ?? 0 }, id.toString('hex')),
  );
}

function findCertificate(token: Token, setting: string, uri: string): Buffer {
  return findOne(token, { setting, uri, use: 'certificate' }, ({ object }) =>
    object.getAttribute(CKA.VALUE),
  );
}

interface Wanted {
  readonly setting: string;
  /** As configured: it holds no PIN. */
  readonly uri: string;
  readonly use: 'private key' | 'certificate';
}

interface Listed {
  readonly object: graphene.SessionObject;
  readonly label: string;
  readonly id: Buffer;
}

const CLASSES = { 'private key': CKO.PRIVATE_KEY, certificate: CKO.CERTIFICATE } as const;

function findOne<T>(token: Token, wanted: Wanted, read: (found: Listed) => T): T {
  const { setting, uri, use } = wanted;
  const { token: ofToken, label, id } = parseObjectUri(uri, use, setting);
  return token.run(`look for the ${use} of ${setting}`, (session) => {
    const chosen = candidateOf(session.slot);
    if (!matches(chosen, ofToken)) {
      const problem = `it names another token than token.uri, which is ${describe(chosen)}`;
      throw refused(wanted, problem, `correct ${setting} or token.uri: the agent uses one token`);
    }
    const all = list(session, CLASSES[use]);
    const [found, ...others] = all.filter(
      (one) =>
        (label === undefined || one.label === label) && (id === undefined || one.id.equals(id)),
    );
    if (found === undefined) {
      const present = all.map(describeObject).join(', ') || 'none';
      const problem = `the token has no such ${use}; ${use}s that are there: ${present}`;
      throw refused(wanted, problem, `correct ${setting}, or put the ${use} into the token`);
    }
    if (others.length > 0) {
      const problem = `several match: ${[found, ...others].map(describeObject).join(', ')}`;
      throw refused(wanted, problem, `add object= or id= to ${setting}`);
    }
    return read(found);
  });
}

function list(session: graphene.Session, objectClass: number): Listed[] {
  const found = session.find({ class: objectClass });
  const listed = Array.from({ length: found.length }, (_, index) => {
    const object = found.items(index);
    const { label, id } = object.getAttribute({ label: null, id: null }) as {
      label?: string;
      id?: Buffer;
    };
    return { object, label: label ?? '', id: id ?? Buffer.alloc(0) };
  });
  // Some tokens list them in another order every time, and a person compares messages.
  return listed.sort((a, b) => Buffer.compare(a.id, b.id));
}

function describeObject({ label, id }: Listed): string {
  return `${JSON.stringify(label)} (id ${id.length === 0 ? 'none' : id.toString('hex')})`;
}

function refused({ uri }: Wanted, problem: string, remedy: string): OtaError<'TOKEN_OBJECT'> {
  return new OtaError('TOKEN_OBJECT', { uri, problem, remedy });
}
