/** Valid metadata of both formats, the same in every process. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { loadVectors } from '../support/uptane-vectors.ts';
import { tufRepository } from './verification-world.ts';

export interface MetadataFile {
  readonly format: 'uptane' | 'tuf';
  readonly role: 'root' | 'timestamp' | 'snapshot' | 'targets';
  readonly bytes: Uint8Array;
}

const VECTORS = ['g01-simple-rsa2048', 'g12-delegation-ed25519', 'g24-targetcustom-json'];
const ROLE = /(?<role>root|timestamp|snapshot)\.json$/u;

export function metadataFiles(): readonly MetadataFile[] {
  const tuf = [...tufRepository().served].map(([name, bytes]) => fileOf('tuf', name, bytes));
  const uptane = loadVectors()
    .filter(({ name }) => VECTORS.includes(name))
    .flatMap(({ steps: [step] }) => (step === undefined ? [] : [step.director, step.image]))
    .flatMap((directory) =>
      readdirSync(directory, { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.json') && name !== 'root.json')
        .sort()
        .map((name) => fileOf('uptane', name, readFileSync(join(directory, name)))),
    );
  return [...uptane, ...tuf];
}

function fileOf(format: MetadataFile['format'], name: string, bytes: Uint8Array): MetadataFile {
  const role = ROLE.exec(name)?.groups?.['role'] ?? 'targets';
  return { format, role: role as MetadataFile['role'], bytes: Uint8Array.from(bytes) };
}
