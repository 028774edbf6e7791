/**
 * systemd-boot's part of automatic boot assessment: sorts the entries, renames the first one if it is
 * counted, and boots it.
 *
 * Source: systemd.io, "Automatic Boot Assessment"; UAPI Boot Loader Specification, "Sorting".
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

interface Entry {
  readonly file: string;
  /** The name without its counters. */
  readonly id: string;
  readonly left: number | undefined;
  readonly done: number;
}

export class SystemdBootLoader {
  readonly root: string;
  readonly entries: string;

  constructor(root: string) {
    this.root = root;
    this.entries = join(root, 'loader', 'entries');
    // Another process goes on with what is there.
    if (existsSync(this.entries)) return;
    mkdirSync(this.entries, { recursive: true });
    writeFileSync(join(root, 'loader', 'loader.conf'), 'timeout 0\ndefault ota-*\n');
    for (const [number, slot] of ['b', 'a'].entries()) {
      const lines = [`title System ${slot}`, `linux /${slot}/vmlinuz`, `options ota.slot=${slot}`];
      const name = `ota-${String(number + 1)}-${slot}.conf`;
      writeFileSync(join(this.entries, name), `${lines.join('\n')}\n`);
    }
    mkdirSync(join(root, 'a'));
    mkdirSync(join(root, 'b'));
    for (const slot of ['a', 'b']) writeFileSync(join(root, slot, 'vmlinuz'), '');
  }

  /** @returns the kernel command line of what boots */
  boot(): string {
    const entries = readdirSync(this.entries).flatMap((file) => parse(file) ?? []);
    const [first] = entries.sort(inOrder);
    if (first === undefined) throw new Error('there is no entry to boot');
    let { file } = first;
    if (first.left !== undefined && first.left > 0) {
      const [left, done] = [first.left - 1, first.done + 1].map(String) as [string, string];
      file = `${first.id.slice(0, -'.conf'.length)}+${left}-${done}.conf`;
      renameSync(join(this.entries, first.file), join(this.entries, file));
    }
    const text = readFileSync(join(this.entries, file), 'utf8');
    return /^options (.*)$/mu.exec(text)?.[1] ?? '';
  }
}

function parse(file: string): Entry | undefined {
  const [, name, left, done = '0'] = /^([^+]+)(?:\+(\d+)(?:-(\d+))?)?\.conf$/u.exec(file) ?? [];
  if (name === undefined) return undefined;
  const isCounted = left !== undefined;
  return {
    file,
    id: `${name}.conf`,
    left: isCounted ? Number(left) : undefined,
    done: Number(done),
  };
}

/** Those without tries last, then the newest name first, by the numbers in it. */
function inOrder(x: Entry, y: Entry): number {
  const spent = Number(x.left === 0) - Number(y.left === 0);
  return spent !== 0 ? spent : y.id.localeCompare(x.id, 'en', { numeric: true });
}
