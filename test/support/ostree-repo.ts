/** A vendor's OSTree repository with two releases, made by the real ostree. */
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Treehub, TreehubFile } from '../../agent/io/treehub.ts';
import { targetFor } from './targets.ts';
import type { Target, TrustedTarget } from '../../agent/uptane/plan.ts';

/** The program itself, whatever stands before it in PATH. */
export const OSTREE = '/usr/bin/ostree';
export const OS = 'vendor-os';
const FILES = 24;
const BIG_BYTES = 400_000;

export interface OstreeRepo {
  /** Archive mode, as a server has it. */
  readonly path: string;
  readonly factory: string;
  readonly update: string;
}

export function ostree(...args: readonly string[]): string {
  return execFileSync(OSTREE, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

/** Two commits that differ in few bytes. */
export function makeOstreeRepo(directory: string): OstreeRepo {
  const path = join(directory, 'treehub');
  const tree = join(directory, 'tree');
  ostree('init', `--repo=${path}`, '--mode=archive');
  makeTree(tree);
  const factory = commit(path, tree, 'factory');
  writeFileSync(join(tree, 'usr/lib/changed'), 'changed by the update\n');
  appendFileSync(join(tree, 'usr/lib/big'), 'and its end');
  const update = commit(path, tree, 'update');
  rmSync(tree, { recursive: true });
  return { path, factory, update };
}

function makeTree(tree: string): void {
  const usual = ['proc', 'sys', 'dev', 'run', 'var', 'tmp', 'sysroot', 'boot'];
  for (const name of [...usual, 'usr/lib/modules/6.1', 'usr/etc', 'usr/bin']) {
    mkdirSync(join(tree, name), { recursive: true });
  }
  symlinkSync('sysroot/ostree', join(tree, 'ostree'));
  for (const name of ['bin', 'lib', 'lib64', 'sbin']) symlinkSync(`usr/${name}`, join(tree, name));
  writeFileSync(join(tree, 'usr/lib/modules/6.1/vmlinuz'), 'kernel');
  writeFileSync(join(tree, 'usr/lib/modules/6.1/initramfs.img'), 'initramfs');
  writeFileSync(join(tree, 'usr/etc/settings'), 'from the vendor\n');
  writeFileSync(join(tree, 'usr/lib/big'), incompressible(BIG_BYTES));
  for (let at = 0; at < FILES; at += 1) {
    writeFileSync(join(tree, `usr/lib/file-${String(at)}`), `file ${String(at)}\n`);
  }
}

function commit(repo: string, tree: string, version: string): string {
  const release = `ID=${OS}\nVERSION=${version}\nPRETTY_NAME="${version}"\n`;
  writeFileSync(join(tree, 'usr/lib/os-release'), release);
  const owner = ['--owner-uid=0', '--owner-gid=0', '--no-xattrs'];
  const what = ['--branch=main', `--tree=dir=${tree}`, `--subject=${version}`];
  return ostree('commit', `--repo=${repo}`, ...what, ...owner).trim();
}

/** As both repositories would have signed it for a commit. */
export function commitTarget(commit: string, changes: Partial<Target> = {}): TrustedTarget {
  return targetFor(Buffer.alloc(0), {
    filename: `${OS}-${commit}`,
    hashes: new Map([['sha256', commit]]),
    lengthBytes: 0,
    format: 'OSTREE',
    ...changes,
  });
}

/** What a server does instead of sending a file; `undefined`: it sends it. */
export type Fault = (path: string, content: Buffer) => TreehubFile | 'missing' | Error | undefined;

/** The repository of a directory, without a network between. */
export class DirectoryTreehub implements Treehub {
  readonly requests: string[] = [];
  fault: Fault = () => undefined;
  /** How long the answer takes. */
  delayMs: (path: string) => number = () => 0;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async open(path: string): Promise<TreehubFile | undefined> {
    this.requests.push(path);
    await sleep(this.delayMs(path));
    const file = join(this.#path, path);
    if (!existsSync(file)) return undefined;
    const content = readFileSync(file);
    const wrong = this.fault(path, content);
    if (wrong === 'missing') return undefined;
    if (wrong instanceof Error) throw wrong;
    return wrong ?? fileOf(content);
  }
}

export function fileOf(content: Buffer): TreehubFile {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(content);
  }
  return { lengthBytes: content.length, body: body() };
}

/** The same on every run. */
function incompressible(lengthBytes: number): Buffer {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 'key'), Buffer.alloc(16, 'iv'));
  return cipher.update(Buffer.alloc(lengthBytes));
}
