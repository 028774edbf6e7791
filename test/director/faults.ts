/**
 * Faults: one name for each attack or nuisance, switched on and off while the server runs.
 *
 * A fault changes what goes out, never what is kept: the honest state on disk is the same before,
 * during and after. Only the switch itself is remembered, in `faults.json`, together with the highest
 * version that a fault has sent, so that honest metadata can be signed above it afterwards.
 */
import { Refusal } from './failure.ts';
import { ENCRYPTION_FAULTS } from './faults/encryption-rows.ts';
import { METADATA_FAULTS } from './faults/metadata-rows.ts';
import type { FaultRow, Parameters } from './faults/row.ts';
import { TRANSFER_FAULTS } from './faults/transfer-rows.ts';

export const FAULTS = { ...METADATA_FAULTS, ...ENCRYPTION_FAULTS, ...TRANSFER_FAULTS };

export type FaultName = keyof typeof FAULTS;

export interface ActiveFault {
  readonly name: FaultName;
  /** Only for this device; absent: for all. */
  readonly device?: string;
  readonly parameters: Parameters;
}

export function rowOf(name: FaultName): FaultRow {
  return FAULTS[name];
}

/** @throws Refusal 404 `fault_not_found` with the names there are */
export function faultName(name: string): FaultName {
  if (Object.hasOwn(FAULTS, name)) return name as FaultName;
  const known = Object.keys(FAULTS).join(', ');
  throw new Refusal(404, 'fault_not_found', `no fault ${name}; there are ${known}`);
}

/** The list of faults as README.md has it. */
export function faultTable(): string {
  const rows = Object.entries(FAULTS).map(([name, row]: [string, FaultRow]) => {
    const parameters = Object.entries(row.parameters).map(
      ([parameter, value]) => `\`${parameter}=${String(value)}\``,
    );
    const code = row.code === '' ? '' : `\`${row.code}\``;
    return `| \`${name}\` | ${row.attack} | ${row.what} | ${code} | ${parameters.join(' ')} |`;
  });
  const head = ['fault', 'attack', 'what goes out', 'what the agent says', 'parameters'];
  return [`| ${head.join(' | ')} |`, '|---|---|---|---|---|', ...rows].join('\n');
}
