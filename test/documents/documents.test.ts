/**
 * Every command of the documents that users read is typed as it stands there, and does what is shown.
 *
 * One machine with its own systemd, laid over this one, is server, device and factory station in turn:
 * what one document leaves is what the next begins with. Nothing on this machine changes.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { bootSystem, whyNotBootable, type BootedSystem } from '../support/booted-system.ts';
import { commandsOf } from '../support/document.ts';
import { DocumentReader } from '../support/document-reader.ts';
import { ROOT } from './documents.ts';
import { STEPS, type Step } from './steps.ts';

let unable = whyNotBootable();
let system: BootedSystem;
const typed = new Map<string, Set<number>>();

before(async () => {
  if (unable !== undefined) return;
  const install = (layer: string): Promise<unknown> =>
    promisify(execFile)('sh', [join(ROOT, 'systemd/install.sh'), layer]);
  const options = { privateNetwork: true, directories: [ROOT] };
  const booted = await bootSystem(install, [], options);
  if (typeof booted === 'string') unable = booted;
  else system = booted;
});

after(async () => {
  await (system as BootedSystem | undefined)?.stop();
});

async function take({ document, sections, has, first = [] }: Step): Promise<void> {
  if (has !== undefined) {
    const prepared = await system.run('bash', '--norc', '-c', `set -eu; cd ${ROOT}\n${has}`);
    assert.equal(prepared.exit, 0, `${document}\n${prepared.stdout}${prepared.stderr}`);
  }
  const path = join(ROOT, document);
  const open = (): ReturnType<BootedSystem['start']> => system.start('bash', '--norc');
  const reader = new DocumentReader(path, open, [`cd ${ROOT}`, ...first]);
  const lines = typed.get(document) ?? new Set();
  typed.set(document, lines);
  for (const command of commandsOf(path)) {
    if (lines.has(command.line) || sections?.includes(command.section) === false) continue;
    await reader.type(command);
    lines.add(command.line);
  }
}

/** Registered before it is known whether the machine can boot a system, so it asks when it runs. */
function testInside(title: string, act: () => Promise<void>): void {
  test(title, { timeout: 300_000 }, async (t) => {
    if (unable === undefined) await act();
    else t.skip(unable);
  });
}

for (const step of STEPS) {
  const { document, sections } = step;
  const part = sections === undefined ? '' : ` (${sections.join(', ')})`;
  testInside(`${document}${part}: every command does what it says`, () => take(step));
}

testInside('no command of these documents was left out', () => {
  for (const { document } of STEPS) {
    const all = commandsOf(join(ROOT, document)).map(({ line }) => line);
    const done = [...(typed.get(document) ?? [])].toSorted((a, b) => a - b);
    assert.deepEqual(done, all, document);
  }
  return Promise.resolve();
});
