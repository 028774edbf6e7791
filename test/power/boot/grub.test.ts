/** A real GRUB in a machine under software emulation, with the script that integrators are told to use. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { loopProblem } from '../../support/loop-device.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { grubDisk, rootImage } from './grub-disk.ts';
import { powerOn } from './machine.ts';

const AGENT = join(import.meta.dirname, 'agent-main.ts');
const SAID = /kernel of image \w+: BOOT_IMAGE=\S+ root=PARTLABEL=rootfs-\w ota\.slot=\w/u;
/** For all boots of one test. */
const LIMIT_MS = 90_000;

class Pc {
  readonly #directory: string;

  constructor(t: TestContext) {
    const temporary = temporaryDirectory('grub');
    t.after(() => {
      temporary.remove();
    });
    this.#directory = temporary.path;
    writeFileSync(this.#at('disk'), grubDisk(temporary.path, rootImage(temporary.path, 'old')));
    writeFileSync(this.#at('image'), rootImage(temporary.path, 'new'));
  }

  /** The agent does that, and in the same instant power fails. */
  agent(booted: 'a' | 'b', tries: number, ...steps: readonly string[]): Record<string, unknown> {
    const args = ['-m', process.execPath, AGENT, this.#directory, booted, String(tries), ...steps];
    const said = execFileSync('unshare', args, { encoding: 'utf8', timeout: 60_000 });
    copyFileSync(this.#at('crashed'), this.#at('disk'));
    return JSON.parse(said) as Record<string, unknown>;
  }

  /** What boots after each other, as the kernels say on the serial line; then power fails. */
  async boots(count: number): Promise<readonly string[]> {
    const lines = await powerOn(this.#at('disk'), SAID, count, LIMIT_MS);
    return lines.map((line) => {
      const [, image, label, slot] = /image (\w+):.*rootfs-(\w) ota\.slot=(\w)/u.exec(line) ?? [];
      assert.equal(label, slot, line);
      return `${String(image)} in ${String(slot)}`;
    });
  }

  #at(name: string): string {
    return join(this.#directory, name);
  }
}

const isPc = process.arch === 'x64';
const skip = loopProblem() ?? (isPc ? false : 'the kernel of this test is for a PC');

test(
  'a real GRUB tries the image three times that never says it is good, and goes back to the old one for good',
  {
    skip,
  },
  async (t) => {
    const pc = new Pc(t);
    const chosen = pc.agent('a', 3, 'install');
    assert.deepEqual([chosen['active'], chosen['state'], chosen['isNew']], ['b', 'trial', false]);
    const tried = ['new in b', 'new in b', 'new in b'];
    assert.deepEqual(await pc.boots(5), [...tried, 'old in a', 'old in a']);
    // What GRUB saved, the agent reads.
    const after = pc.agent('a', 3);
    assert.deepEqual([after['active'], after['state'], after['isNew']], ['a', 'good', false]);
  },
);

test(
  'a real GRUB stays with an image that was confirmed in its last trial, though power fails at once',
  {
    skip,
  },
  async (t) => {
    const pc = new Pc(t);
    pc.agent('a', 1, 'install');
    assert.deepEqual(await pc.boots(1), ['new in b']);
    const confirmed = pc.agent('b', 1, 'confirm');
    assert.deepEqual(
      [confirmed['active'], confirmed['state'], confirmed['isNew']],
      ['b', 'good', true],
    );
    assert.deepEqual(await pc.boots(2), ['new in b', 'new in b']);
  },
);
