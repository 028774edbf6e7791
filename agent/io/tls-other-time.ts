/**
 * Certificates judged at another time than the system's: Node and OpenSSL inside it know no other.
 *
 * `openssl verify` does it: the same rules for chains, names and revocation as in a handshake, with the
 * time as an argument. Rules of our own would be a second and lesser verifier.
 */
import { execFile } from 'node:child_process';
import type { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { promisify } from 'node:util';

import { causeOf } from '../errors.ts';
import { formatInstant, type Instant } from '../uptane/time.ts';
import type { ServerTrust } from './tls.ts';
import { TlsRefusal } from './tls-refusal.ts';

const PROGRAM = 'openssl';
const PROGRAM_MS = 10_000;

/**
 * Verifies the chain of a server as if it were `now`.
 *
 * @param chain - the server's certificate and those above it, as far as they are known
 * @throws TlsRefusal ERR_TLS_DATE if it does not hold, or there is no program that could say so
 */
export async function verifyChainAt(
  chain: readonly X509Certificate[],
  host: string,
  { caPem, crls = [] }: ServerTrust,
  now: Instant,
): Promise<void> {
  const [leaf, ...above] = chain.map((certificate) => certificate.toString());
  const directory = await mkdtemp(join(tmpdir(), 'ota-agent-chain-'));
  try {
    const save = async (name: string, pem: string): Promise<string> => {
      await writeFile(join(directory, name), pem);
      return join(directory, name);
    };
    const cas = await save('ca.pem', caPem ?? getCACertificates('system').join('\n'));
    const untrusted = await save('untrusted.pem', above.join(''));
    const lists = await save('crl.pem', crls.join('\n'));
    await promisify(execFile)(
      PROGRAM,
      [
        'verify',
        // Without these the CAs of the system count beside those of gateway.ca.
        ...['-no-CApath', '-no-CAstore', '-CAfile', cas],
        ...(above.length === 0 ? [] : ['-untrusted', untrusted]),
        ...(crls.length === 0 ? [] : ['-crl_check', '-crl_check_all', '-CRLfile', lists]),
        ...['-purpose', 'sslserver', '-attime', String(Math.floor(now / 1000))],
        ...(isIP(host) === 0 ? ['-verify_hostname', host] : ['-verify_ip', host]),
        await save('server.pem', leaf ?? ''),
      ],
      { timeout: PROGRAM_MS, env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' } },
    );
  } catch (error) {
    throw refused(error, now);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function refused(error: unknown, now: Instant): TlsRefusal {
  const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
  const problem = /^error .*?: (?<reason>.*)$/mu.exec(said)?.groups?.['reason'] ?? causeOf(error);
  const clock = `the clock is wrong, and by ${formatInstant(now)}, the best known time`;
  const remedy =
    "set this device's clock (and install openssl, which judges certificates by another time); " +
    "then check the validity of the gateway's certificate";
  return new TlsRefusal(
    'ERR_TLS_DATE',
    `${clock}, its certificate does not hold: ${problem}`,
    remedy,
  );
}
