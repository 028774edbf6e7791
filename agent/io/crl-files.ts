/** Lists of revoked certificates, which are replaced while the daemon runs. */
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';

import { causeOf, OtaError } from '../errors.ts';
import type { GroundedContext } from './tls-connector.ts';
import { groundsOf, type ServerTrust } from './tls.ts';

const PEM = /-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/gu;

/**
 * Every list in these files, PEM or DER.
 *
 * @returns PEM of each
 * @throws OtaError FILE_UNREADABLE
 */
export function readCrls(paths: readonly string[]): readonly string[] {
  return paths.flatMap((path) => {
    try {
      const bytes = readFileSync(path);
      const found = bytes.toString('latin1').match(PEM) ?? [wrapped(bytes)];
      for (const crl of found) createSecureContext({ crl });
      return found;
    } catch (cause) {
      const what = 'list of revoked certificates';
      const remedy = 'set gateway.crl to CRL files, PEM or DER, that the agent may read';
      const details = { path, what, cause: causeOf(cause), remedy };
      throw new OtaError('FILE_UNREADABLE', details, { cause });
    }
  });
}

/**
 * A context that knows the lists as they are now: they are read again when a file has changed.
 *
 * A list that cannot be read fails the connection: a device that went on with the old one could be kept
 * on it.
 */
export function followCrls(
  paths: readonly string[],
  identity: () => {
    readonly certificate: { readonly fingerprint: string };
    readonly secureContext: SecureContext;
    readonly contextFor: (trust: ServerTrust) => SecureContext;
    readonly trust: ServerTrust;
  },
): () => GroundedContext {
  // Unknown at first: a file may have been replaced since it was read.
  let seen: { readonly who: unknown; readonly lists: string; context: GroundedContext } | undefined;
  return () => {
    const who = identity();
    const lists = versions(paths);
    if (seen?.who !== who || seen.lists !== lists) {
      const trust = { ...who.trust, crls: readCrls(paths) };
      const secureContext = paths.length === 0 ? who.secureContext : who.contextFor(trust);
      const context = { secureContext, grounds: groundsOf(who.certificate.fingerprint, trust) };
      seen = { who, lists, context };
    }
    return seen.context;
  };
}

/** What tells a file from the one that replaced it. */
function versions(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const found = statSync(path, { throwIfNoEntry: false });
      return found === undefined ? 'none' : [found.ino, found.mtimeMs, found.size].join(':');
    })
    .join(' ');
}

function wrapped(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/gu) ?? [];
  return ['-----BEGIN X509 CRL-----', ...lines, '-----END X509 CRL-----', ''].join('\n');
}
