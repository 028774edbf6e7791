import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('conformance.sh', import.meta.url));
/** The command bounds each of its suites; this is for all of them. */
const LONGEST_MS = 50 * 60_000;

test("OP-TEE's own programs find no fault: the PKCS#11 suite and the storage suite", async (t) => {
  const command = spawn('sh', [COMMAND], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: LONGEST_MS,
  });
  const [said, [status]] = await Promise.all([
    text(command.stdout),
    once(command, 'close') as Promise<[number | null]>,
  ]);
  const reason = /^skipped: (.*)$/mu.exec(said)?.[1];
  if (reason !== undefined) {
    t.skip(`OP-TEE's programs can't be run here: ${reason}`);
    return;
  }
  t.diagnostic(said);
  assert.equal(status, 0, said);
  const suites = new Map(
    Array.from(
      said.matchAll(/^(.+): (\d+) cases, 0 failed \((\d+) subtests, 0 failed\)$/gmu),
      (line) => [line[1], { cases: Number(line[2]), subtests: Number(line[3]) }],
    ),
  );
  assert.equal(suites.get('pkcs11 on REE-FS')?.cases, 31);
  assert.equal(suites.get('pkcs11 on RPMB')?.cases, 31);
  // Were a storage not found, its part would be left out and nothing would fail.
  assert.deepEqual(suites.get('storage on REE-FS'), { cases: 20, subtests: 1322 });
  assert.deepEqual(suites.get('storage on RPMB'), { cases: 20, subtests: 1242 });
  assert.deepEqual(suites.get('storage on REE-FS with RPMB'), { cases: 20, subtests: 1943 });
});
