/**
 * The boot loader's side of the active-slot marker, written from its description and not from the
 * agent's code: a device that is switched on reads the marker, counts down, and runs a slot.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

export interface Board {
  readonly marker: string;
  /** Where the boot loader tells the system which slot it booted. */
  readonly booted: string;
  readonly bootId: string;
}

/** Switches the board on, as after a power cut. */
export function bootBoard(board: Board): 'a' | 'b' {
  const slot = chooseSlot(board.marker);
  writeFileSync(board.booted, `${slot}\n`);
  writeFileSync(board.bootId, `${randomUUID()}\n`);
  return slot;
}

function chooseSlot(path: string): 'a' | 'b' {
  const values = readMarkerValues(path);
  if (values['state'] !== 'trial') return asSlot(values['active'] ?? 'a');
  const tries = Number(values['tries']);
  if (tries > 0) {
    rewrite(path, { ...values, tries: String(tries - 1) });
    return asSlot(values['active']);
  }
  const fallback = asSlot(values['fallback']);
  rewrite(path, { ...values, active: fallback, state: 'good' });
  return fallback;
}

/** The marker's lines; empty where there is no marker. */
export function readMarkerValues(path: string): Record<string, string> {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  const pairs = text.split('\n').flatMap((line) => {
    const [name, value] = line.split('=');
    return name === undefined || value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(pairs);
}

function rewrite(path: string, values: Record<string, string>): void {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(`${path}.boot`, lines.join(''));
  renameSync(`${path}.boot`, path);
}

function asSlot(text: string | undefined): 'a' | 'b' {
  if (text === 'a' || text === 'b') return text;
  throw new Error(`the marker names no slot: ${String(text)}`);
}
