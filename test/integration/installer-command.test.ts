/** Programs of users: the example of config/, and every way in which such a program goes wrong. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';

import { CommandInstaller } from '../../agent/io/installers/command.ts';
import {
  installerContract,
  type InstallerFixture,
  type Running,
} from '../contract/installer.contract.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { runInstall } from '../support/install-process.ts';
import { behindSocket } from '../support/separate-installer.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const EXAMPLE = join(import.meta.dirname, '../../config/installers/install-firmware.sh');
const UPDATE = Buffer.alloc(200_001, 'update ');
const TARGET = targetFor(UPDATE, { filename: 'mcu-2.bin' });
const INSTALLED = { installer: 'command', ecu: 'ecu-1' } as const;

function running(directory: string): Running {
  const content = readFileSync(join(directory, 'firmware'));
  if (content.equals(UPDATE)) return 'update';
  return content.toString() === 'factory' ? 'factory' : 'neither: other bytes';
}

function exampleIn(directory: string): string {
  const firmware = join(directory, 'mcu');
  mkdirSync(firmware);
  writeFileSync(join(firmware, 'firmware'), 'factory');
  return firmware;
}

function exampleDevice(directory: string): InstallerFixture {
  const firmware = exampleIn(directory);
  return {
    installer: new CommandInstaller({ command: [EXAMPLE, firmware], timeoutMs: 20_000 }),
    target: TARGET,
    content: UPDATE,
    running: () => running(firmware),
    boot: () => undefined,
  };
}
installerContract('command, with the example of config/', exampleDevice);
installerContract('separate, command', (directory) =>
  behindSocket(directory, exampleDevice(directory)),
);

/** A program that does `script` for every verb but `describe`. */
function program(t: TestContext, script: string, timeoutMs = 20_000): Program {
  const temporary = temporaryDirectory('command');
  t.after(() => {
    temporary.remove();
  });
  const path = join(temporary.path, 'installer');
  const described = `[ "$1" != describe ] || { echo '{"reboot":true}'; exit; }`;
  writeFileSync(path, `#!/bin/sh\n${described}\n${script}\n`, { mode: 0o755 });
  const staged = join(temporary.path, 'staged');
  writeFileSync(staged, UPDATE);
  const installer = new CommandInstaller({ command: [path], timeoutMs });
  return { path, staged, installer, directory: temporary.path };
}

interface Program {
  readonly path: string;
  readonly staged: string;
  readonly directory: string;
  readonly installer: CommandInstaller;
}

const write = (
  { installer, staged }: Program,
  progress: (done: number) => void = () => undefined,
) => installer.write(TARGET, staged, progress);

const SHA256 = TARGET.hashes.get('sha256') ?? '';

describe('a program is told', () => {
  test('the target and the staged file in its environment, and no secret of the agent', async (t) => {
    process.env['OTA_TEST_SECRET'] = 'secret';
    t.after(() => {
      delete process.env['OTA_TEST_SECRET'];
    });
    const given = program(t, `env >"$OTA_IMAGE_PATH.env"; echo '{"sha256":"${SHA256}"}'`);
    await write(given);
    const lines = readFileSync(`${given.staged}.env`, 'utf8').trim().split('\n');
    const told = new Map(
      lines.map((line) => [line.split('=')[0], line.slice(line.indexOf('=') + 1)]),
    );
    const expected = {
      OTA_INTERFACE: '1',
      OTA_VERB: 'write',
      OTA_ECU_SERIAL: 'ecu-1',
      OTA_HARDWARE_ID: 'board',
      OTA_FILENAME: 'mcu-2.bin',
      OTA_LENGTH: String(UPDATE.length),
      OTA_SHA256: SHA256,
      OTA_SHA512: TARGET.hashes.get('sha512'),
      OTA_IMAGE_PATH: given.staged,
      SECONDARY_FIRMWARE_PATH: given.staged,
      SECONDARY_FIRMWARE_SHA256: SHA256,
      SECONDARY_ECU_SERIAL: 'ecu-1',
      SECONDARY_HARDWARE_ID: 'board',
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(told.get(name), value, name);
    assert.equal(told.has('OTA_TEST_SECRET'), false);
  });

  test('the verb as its last argument, as one word that no shell has seen', async (t) => {
    const given = program(t, `printf '%s|' "$@" >"$(dirname "$0")/args"`);
    const command = [given.path, '$(touch /tmp/x) ; *'];
    await new CommandInstaller({ command, timeoutMs: 20_000 }).activate(TARGET);
    const args = readFileSync(join(given.directory, 'args'), 'utf8');
    assert.equal(args, '$(touch /tmp/x) ; *|activate|');
  });
});

describe('a program answers', () => {
  test('with its progress, and the digest of what it read back', async (t) => {
    const script = `echo '{"progress":10}'; echo hello; echo '{"progress":50}'; echo '{"sha256":"${SHA256}"}'`;
    const progress: number[] = [];
    await write(program(t, script), (done) => progress.push(done));
    assert.deepEqual(progress, [20_000, 100_000]);
  });

  test('with one document over several lines, as handlers of Torizon do', async (t) => {
    await write(program(t, `printf '{\\n  "status": "ok",\\n  "sha256": "${SHA256}"\\n}\\n'`));
  });

  test('whether it needs a reboot, and what people want to know', async (t) => {
    const { installer, path } = program(t, '');
    assert.equal(await installer.needsReboot, true);
    assert.deepEqual(await installer.describe(), { program: path, reboot: 'true' });
  });

  test('with the digest of what runs, which is compared and not believed', async (t) => {
    const says = (answer: string): Promise<boolean> => program(t, answer).installer.booted(TARGET);
    assert.equal(await says(`echo '{"sha256":"${SHA256}"}'`), true);
    assert.equal(await says(`echo '{"sha256":"${'0'.repeat(64)}"}'`), false);
    assert.equal(await says(`echo '{"status":"ok"}'`), false);
    assert.equal(await says('exit 64'), false);
  });

  test('64 where there is nothing to do, which is no failure but for the first steps', async (t) => {
    const given = program(t, 'exit 64');
    await given.installer.activate(TARGET);
    await given.installer.confirm(TARGET);
    await given.installer.rollBack(TARGET);
    for (const [verb, call] of [
      ['check', given.installer.check(TARGET)],
      ['write', write(given)],
    ] as const) {
      const cause = `${given.path} ${verb}: not now (exit code 64)`;
      await rejectsCode(call, 'INSTALL_FAILED', { ...INSTALLED, cause });
    }
  });
});

describe('a program goes wrong', () => {
  const NO_DIGEST = 'its answer has no digest of what it read back, want "sha256"';
  const cases: readonly (readonly [string, string, string])[] = [
    [
      'it refuses',
      `echo '{"message":"wrong board"}'; exit 65`,
      'PROGRAM write refuses: wrong board',
    ],
    ['it refuses and says why elsewhere', 'echo no >&2; exit 65', 'PROGRAM write refuses: no'],
    ['it refuses without a word', 'exit 65', 'PROGRAM write refuses: it does not say why'],
    [
      'it says that it failed',
      `echo '{"status":"failed","message":"flash is worn"}'`,
      'PROGRAM write failed: flash is worn',
    ],
    ['it fails', 'echo "no flash" >&2; exit 7', 'PROGRAM write ended with code 7: no flash'],
    ['it crashes', 'echo at 3 >&2; kill -SEGV $$', 'PROGRAM was ended by SIGSEGV: at 3'],
    ['it hangs', 'sleep 600', 'PROGRAM did not end within 2 s'],
    ['it talks without end', 'yes', 'PROGRAM said more than 262144 characters'],
    ['its answer is no JSON', 'echo done', 'PROGRAM write: its answer is no JSON object: "done"'],
    ['its answer is no object', 'echo [1]', 'PROGRAM write: its answer is no JSON object: "[1]"'],
    ['it names no digest', `echo '{"status":"ok"}'`, `PROGRAM write: ${NO_DIGEST}`],
    ['it says nothing', 'exit 0', `PROGRAM write: ${NO_DIGEST}`],
  ];
  for (const [what, script, cause] of cases) {
    test(what, async (t) => {
      const given = program(t, script, what === 'it hangs' ? 2000 : 20_000);
      await rejectsCode(write(given), 'INSTALL_FAILED', {
        ...INSTALLED,
        cause: cause.replace('PROGRAM', given.path),
      });
    });
  }

  test('it has written other bytes', async (t) => {
    const other = 'f'.repeat(64);
    await rejectsCode(write(program(t, `echo '{"sha256":"${other}"}'`)), 'IMAGE_HASH_MISMATCH', {
      filename: 'mcu-2.bin',
      algorithm: 'sha256',
      signed: SHA256,
      computed: other,
    });
  });

  test('it is not given a staged file that is not what was signed', async (t) => {
    const given = program(t, 'touch "$(dirname "$0")/called"');
    writeFileSync(given.staged, Buffer.alloc(UPDATE.length, 'x'));
    await assert.rejects(write(given), { code: 'IMAGE_HASH_MISMATCH' });
    assert.equal(existsSync(join(given.directory, 'called')), false);
  });

  test('it leaves a process behind, which ends and is not waited for', async (t) => {
    const begun = performance.now();
    await write(program(t, `sleep 600 & echo '{"sha256":"${SHA256}"}'`));
    assert.ok(performance.now() - begun < 10_000);
  });

  test('it is missing, or no program, or its interpreter is', async (t) => {
    const { path, directory } = program(t, '');
    symlinkSync('/nonexistent', join(directory, 'dangling'));
    for (const name of ['missing', 'dangling']) {
      const command = [join(directory, name)];
      const installer = new CommandInstaller({ command, timeoutMs: 1000 });
      await assert.rejects(installer.check(TARGET), {
        code: 'INSTALL_FAILED',
        details: {
          ...INSTALLED,
          cause: `${command[0] ?? ''} cannot be run: ENOENT: spawn ${command[0] ?? ''} ENOENT`,
        },
      });
      await assert.rejects(installer.needsReboot, { code: 'INSTALL_FAILED' });
    }
    writeFileSync(path, '#!/nonexistent/sh\n');
    await assert.rejects(new CommandInstaller({ command: [path], timeoutMs: 1000 }).describe(), {
      code: 'INSTALL_FAILED',
    });
  });

  test('it does not say whether it needs a reboot', async (t) => {
    const { path } = program(t, '');
    writeFileSync(path, `#!/bin/sh\necho '{"reboot":"yes"}'\n`);
    const installer = new CommandInstaller({ command: [path], timeoutMs: 1000 });
    const details = {
      installer: 'command',
      ecu: '-',
      cause: `${path} describe: its answer has to say "reboot": true or false`,
    };
    await rejectsCode(installer.describe(), 'INSTALL_FAILED', details);
    await rejectsCode(installer.needsReboot, 'INSTALL_FAILED', details);
  });
});

/** Programs of the example by name, each of which may be the last thing that the device does. */
function shims(directory: string): {
  readonly path: string;
  readonly killAt: (call: number) => void;
} {
  const path = join(directory, 'shims');
  mkdirSync(path);
  const script = `#!/bin/sh
here=$(dirname "$0")
n=$(($(cat "$here/count") + 1))
echo $n >"$here/count"
if [ $n = "$(cat "$here/kill-at")" ]; then
  read -r _ _ _ agent _ </proc/$PPID/stat
  kill -9 $agent -$PPID
fi
exec /bin/$(basename "$0") "$@"
`;
  for (const name of ['cp', 'sync', 'mv', 'ln', 'rm']) {
    writeFileSync(join(path, name), script, { mode: 0o755 });
  }
  return {
    path,
    killAt: (call) => {
      writeFileSync(join(path, 'count'), '0');
      writeFileSync(join(path, 'kill-at'), String(call));
    },
  };
}

test('killed before any command of the program, with it, the old or the new firmware is there, and the next run converges', async (t) => {
  const temporary = temporaryDirectory('command-kill');
  const { PATH = '' } = process.env;
  t.after(() => {
    process.env['PATH'] = PATH;
    temporary.remove();
  });
  const staged = join(temporary.path, 'staged');
  writeFileSync(staged, UPDATE);
  const firmware = exampleIn(temporary.path);
  const { path, killAt } = shims(temporary.path);
  process.env['PATH'] = `${path}:${PATH}`;
  const settings = { type: 'command', command: [EXAMPLE, firmware], timeoutMs: 20_000 } as const;
  const steps = ['check', 'write', 'activate', 'confirm', 'rollBack'] as const;
  const installer = new CommandInstaller(settings);
  let kills = 0;
  for (let isKilled = true; isKilled; kills += isKilled ? 1 : 0) {
    killAt(kills + 1);
    const { signal, code, stderr } = await runInstall({ settings, target: TARGET, staged, steps });
    isKilled = signal === 'SIGKILL';
    assert.equal(code, isKilled ? null : 0, stderr);
    killAt(0);
    const left = running(firmware);
    assert.ok(left === 'factory' || left === 'update', left);
    assert.equal(await installer.booted(TARGET), left === 'update');
    await installer.write(TARGET, staged, () => undefined);
    await installer.activate(TARGET);
    assert.equal(running(firmware), 'update');
    await installer.rollBack(TARGET);
    assert.equal(running(firmware), 'factory');
  }
  assert.equal(kills, 10);
});
