/** Everything of a booted system, and of the Director it speaks to, in which a secret could be seen. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

import type { DirectorHandle } from '../director/start.ts';
import type { BootedSystem } from './booted-system.ts';
import { OTHERS, PINS, receivedBy, shows } from './marked-secrets.ts';

/** Where administrators and systemd keep them; `absent` and so on are the tests'. */
const THEIR_PLACES =
  /^(?:etc\/(?:credstore\/|ota-agent\/est-secret$)|run\/(?:credentials|ota-agent\/secrets)\/)/u;

interface Seen {
  readonly where: string;
  readonly bytes: Buffer;
  /** What may not be there. */
  readonly secrets: Readonly<Record<string, string>>;
}

export class SecrecyOfSystem {
  readonly #system: BootedSystem;
  readonly #director: DirectorHandle;
  readonly #seen: Seen[] = [];
  readonly #secrets: Readonly<Record<string, string>>;

  constructor(system: BootedSystem, director: DirectorHandle) {
    this.#system = system;
    this.#director = director;
    const [, enrolment = ''] = readFileSync(director.enrolSecretPath, 'utf8').trim().split(':');
    assert.ok(enrolment.length > 8);
    this.#secrets = { ...PINS, deviceSecret: OTHERS.deviceSecret, enrolment };
  }

  add(where: string, what: string | Buffer, secrets = this.#secrets): void {
    this.#seen.push({ where, bytes: Buffer.from(what), secrets });
  }

  /** Command lines and environments of all that runs now. */
  addProcesses(): void {
    const processes = join(this.#system.root, 'proc');
    for (const pid of readdirSync(processes).filter((name) => /^\d+$/u.test(name))) {
      for (const name of ['cmdline', 'environ']) {
        const path = join(processes, pid, name);
        this.add(`/proc/${pid}/${name}`, contentOf(path));
      }
    }
  }

  /** Journal, units and cores as systemd tells of them, every file that was written, and the Director. */
  async demandNone(): Promise<void> {
    await this.#addWhatSystemdSays();
    this.#addFiles();
    await this.#addDirector();
    const showing = this.#seen.filter(({ bytes, secrets }) => shows(bytes, secrets));
    assert.deepEqual(
      showing.map(({ where }) => where),
      [],
    );
    await this.#demandFinds();
  }

  /** @param where - a part of it */
  demandSeen(where: string, what: string): void {
    const found = this.#seen.some((one) => one.where.includes(where) && one.bytes.includes(what));
    assert.ok(found, `${what} is not in ${where}: the search searches the wrong thing`);
  }

  async #addWhatSystemdSays(): Promise<void> {
    for (const command of [
      'journalctl --output=export --no-pager',
      'systemctl status --full --no-pager --lines=1000 ota-agent*',
      'systemctl show --all ota-agent*',
      'coredumpctl --no-pager info',
    ]) {
      const { stdout, stderr } = await this.#system.run('sh', '-c', `set -f; ${command}`);
      this.add(command, stdout + stderr);
    }
    this.demandSeen('journalctl', '_SYSTEMD_UNIT=ota-agent.service');
    this.demandSeen('journalctl', '_CMDLINE=');
    this.demandSeen('systemctl status', 'ota-agent.service - ');
    this.demandSeen('systemctl show', 'ExecMainPID=');
  }

  #addFiles(): void {
    for (const directory of this.#system.written) {
      const root = directory.startsWith(this.#system.root) ? this.#system.root : directory;
      for (const path of filesBelow(directory)) {
        const name = relative(root, path);
        if (!THEIR_PLACES.test(name)) this.add(`/${name}`, contentOf(path));
      }
    }
    this.demandSeen('/var/lib/ota-agent/ota-agent.db', 'device-1');
    const cores = this.#seen.filter(({ where }) =>
      /(?:\/core(?:\.[^/]*)?$|systemd\/coredump\/)/u.test(where),
    );
    assert.deepEqual(
      cores.map(({ where }) => where),
      [],
    );
  }

  /** What it was sent is in its database, and answered from there. It knows what it has told the device. */
  async #addDirector(): Promise<void> {
    const { stateDir } = this.#director;
    for (const path of filesBelow(stateDir)) {
      this.add(`Director: ${relative(stateDir, path)}`, contentOf(path), PINS);
    }
    for (const { of, text } of await receivedBy(this.#director)) this.add(`Director: ${of}`, text);
  }

  /** As a leak would look. */
  async #demandFinds(): Promise<void> {
    const leak = `systemd-cat --identifier=leak sh -c 'echo "the PIN is ${PINS.user}"' && journalctl --sync`;
    await this.#system.run('sh', '-c', leak);
    const { stdout } = await this.#system.run('journalctl', '-t', 'leak', '--output=export');
    assert.ok(shows(Buffer.from(stdout), this.#secrets), 'the search finds nothing');
    const own = readFileSync(join(this.#system.root, 'etc/credstore/ota-agent.so-pin'));
    assert.ok(shows(own, this.#secrets), 'the search finds nothing');
  }
}

/** Regular ones; what cannot be searched has no content that lasts. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    return entry.isFile() ? [path] : [];
  });
}

/** Empty for what has gone since it was listed. */
function contentOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    assert.match(String(error), /ENOENT|ESRCH/u);
    return Buffer.alloc(0);
  }
}
