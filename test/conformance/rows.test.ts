/**
 * Every rule that a Primary has to check is in the title of a test that can fail.
 *
 * Titles end in the rule's letter and number, and often the clause: this replaces a table of which
 * test covers what, that nobody would keep.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

/** Uptane Standard 2.1 §5.4.4, clause by clause. */
const ROWS: Readonly<Record<string, string>> = {
  B1: '§5.4.1: a complete set of metadata from the factory',
  R1: '§5.4.4.3 step 1: start from the trusted root',
  R2: '§5.4.4.3 step 2: fetch the next root; only its absence ends the chain',
  R3: '§5.4.4.3 step 2.3: thresholds of unique keys of both roots',
  R4: '§5.4.4.3 step 2.4: exactly the next version',
  R5: '§5.4.4.3 step 2.5: keep each root before the next',
  R6: '§5.4.4.3 step 3: the last root has not expired',
  R7: '§5.4.4.3 step 4: recover from fast-forward attacks',
  R8: '§5.2.2: type, roles, keys, thresholds',
  T1: '§5.4.4.4 step 1: bounded',
  T2: '§5.4.4.4 step 2: threshold',
  T3: '§5.4.4.4 step 3: not older',
  T4: '§5.4.4.4 step 4: not expired',
  S0: '§5.4.4.2 steps 4 and 9: nothing new, nothing fetched',
  S1: '§5.4.4.5 step 1: bounded by the listed length',
  S2: '§5.4.4.5 step 2: hashes and version as listed',
  S3: '§5.4.4.5 step 3: threshold',
  S4: '§5.4.4.5 step 4: not older',
  S5: '§5.4.4.5 step 5: no listed version goes down',
  S6: '§5.4.4.5 step 6: nothing listed disappears',
  S7: '§5.4.4.5 step 7: not expired',
  G1: '§5.4.4.6 step 1: bounded',
  G2: '§5.4.4.6 step 2: as listed in the Snapshot',
  G3: '§5.4.4.6 step 3: threshold of whoever delegates',
  G4: '§5.4.4.6 step 4: not older',
  G5: '§5.4.4.6 step 5: not expired',
  G6: '§5.4.4.6 step 6: a Director does not delegate',
  G7: '§5.4.4.6 step 7: one image for each ECU',
  G8: '§5.4.4.6 step 8: only ECUs of this vehicle',
  G9: '§5.2.3: empty Targets are for this vehicle',
  G10: '§5.2.3: every image names its ECUs',
  G11: '§5.2.3: hardware ids and release counters',
  D1: '§5.4.4.7 step 1: every delegated file is checked as Targets are',
  D2: '§5.4.4.7 step 2: the current file goes first',
  D3: '§5.4.4.7 step 3: terminating delegations end the search',
  D4: '§5.4.4.7 step 4: in order, by hardware and path',
  D5: '§5.4.4.7 step 5: roles that have to agree (TAP 3)',
  D6: '§5.4.4.7 step 6: the end of the list is the end',
  D7: '§5.4.4.7: loops and depth are bounded',
  F2: '§5.4.4.2 step 2: Director Root',
  F3: '§5.4.4.2 step 3: Director Timestamp',
  F4: '§5.4.4.2 step 4: Director Snapshot; stop if unchanged',
  F5: '§5.4.4.2 step 5: Director Targets',
  F6: '§5.4.4.2 step 6: stop if nothing is new',
  F7: '§5.4.4.2 step 7: Image Root',
  F8: '§5.4.4.2 step 8: Image Timestamp',
  F9: '§5.4.4.2 step 9: Image Snapshot',
  F10: '§5.4.4.2 step 10: Image Targets',
  F11: '§5.4.4.2: matching',
  M1: 'every image of the Director is in the Image repository under exactly its name',
  M2: 'equal length and hashes',
  M3: 'equal custom fields that have to match',
  M4: 'release counters do not go down',
  V1: '§5.4.5: the latest Director Targets',
  V2: '§5.4.5: the entry for this ECU',
  V3: "§5.4.5: this ECU's hardware",
  V4: '§5.4.5: a filename that is valid',
  V5: '§5.4.5: a release that is not older',
  V7: '§5.4.5: all hashes of the image',
  V8: '§5.4.5: the length of the image',
  V9: '§5.4.5: the image before stays until the new one is proven',
  V10: '§5.4.5: a failure leaves trusted Targets in place',
  V11: '§5.4.5: a failure is reported, too',
  P1: '§5.4.2.1: a vehicle version manifest',
  P2: '§5.4.2.2: the time from a secure source, never going back',
  P8: '§5.4: slow retrieval is detected and reported',
  P9: '§5.4.5: no failure leaves the ECU unrecoverable',
  P10: '§5.4.4.2: failures name the attack',
  P11: '§5.2: strings are in normalisation form C',
};

/** Tests of rules, and of the cycle that follows them. */
const PLACES = ['unit/uptane/*.test.ts', 'conformance/*.test.ts', 'integration/cycle-*.test.ts'];
const TITLE = /\btest\(\s*(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)/gu;
const ROW = /\b([BRTSGDFMVP]\d{1,2})\b/gu;

function titledRows(): ReadonlySet<string> {
  const cwd = join(import.meta.dirname, '..');
  const files = globSync(PLACES, { cwd });
  const titles = files.flatMap((file) => readFileSync(join(cwd, file), 'utf8').match(TITLE) ?? []);
  return new Set(titles.flatMap((title) => title.match(ROW) ?? []));
}

test('every rule is in the title of a test', () => {
  const titled = titledRows();
  assert.deepEqual(
    Object.keys(ROWS).filter((row) => !titled.has(row)),
    [],
  );
});

test('no title names a rule that is not listed here', () => {
  assert.deepEqual(
    [...titledRows()].filter((row) => !(row in ROWS)),
    [],
  );
});
