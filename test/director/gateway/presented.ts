/** The certificate that the gateway presents: its own, or the one that a fault wants. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

import type { FaultName } from '../faults.ts';
import { createFaultyIdentity, identityAt, type Identity } from '../pki/authority.ts';
import type { World } from '../world.ts';

const ENDED_YESTERDAY = '-1';
const OTHER_HOST = 'another-gateway.invalid';

type CertificateFault = Extract<FaultName, `certificate-${string}`>;

/** Of two faults the one that was switched on last counts. */
export async function presentedIdentity(world: World): Promise<Identity> {
  const { faults, directory, serverCa, server } = world;
  // They are for all: it does not matter whom one asks for.
  const active = faults.at('server-certificate', '');
  const name = active.map((fault) => fault.name).findLast(isCertificateFault);
  if (name === undefined) return server;
  const faulty = identityAt(directory, `server-${name}`);
  const certificate =
    name === 'certificate-expired'
      ? { hosts: hostsOf(server), days: ENDED_YESTERDAY }
      : { hosts: [OTHER_HOST], days: '30' };
  await createFaultyIdentity(faulty, serverCa, certificate);
  return faulty;
}

function isCertificateFault(name: FaultName): name is CertificateFault {
  return name === 'certificate-expired' || name === 'certificate-wrong-name';
}

function hostsOf({ certificatePath }: Identity): readonly string[] {
  const { subjectAltName = '' } = new X509Certificate(readFileSync(certificatePath));
  return subjectAltName.split(', ').map((name) => name.replace(/^[^:]*:/u, ''));
}
