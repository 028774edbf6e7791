/** A device whose software is a tree of files behind one link. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

import { DirectoryInstaller } from '../../agent/io/installers/directory/directory.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import type { Running } from '../contract/installer.contract.ts';
import { tarArchive } from './tar-archive.ts';
import { targetFor } from './targets.ts';
import { temporaryDirectory } from './temporary.ts';

export const LIMITS = { maxBytes: 64 * 1024 * 1024, maxEntries: 100, allowSetuid: false };

export function release(version: string, extraBytes = 1000): Buffer {
  return tarArchive([
    { path: './', typeflag: '5', mode: 0o755 },
    { path: './bin/', typeflag: '5', mode: 0o755 },
    { path: './bin/app', mode: 0o755, content: Buffer.from(`#!/bin/sh\necho ${version}\n`) },
    { path: './version', content: Buffer.from(version) },
    { path: './data', content: Buffer.alloc(extraBytes, version) },
    { path: './latest', typeflag: '2', link: 'bin/app' },
  ]);
}

export const UPDATE = release('update', 300_000);

export interface Board {
  readonly path: string;
  readonly installer: DirectoryInstaller;
  running(): Running;
}

/** A device on which a tree of the factory runs. */
export function openBoard(directory: string): Board {
  const path = join(directory, 'current');
  mkdirSync(join(directory, 'factory'));
  writeFileSync(join(directory, 'factory/version'), 'factory');
  symlinkSync('factory', path);
  return {
    path,
    installer: new DirectoryInstaller({ path, limits: LIMITS }),
    running: () => runningTree(path),
  };
}

/** What a program finds that follows the link. */
export function runningTree(path: string): Running {
  const version = readFileSync(join(path, 'version'), 'utf8');
  if (version === 'factory') return version;
  const said = execFileSync(join(path, 'latest')).toString().trim();
  const data = readFileSync(join(path, 'data'), 'latin1');
  const isWhole = said === version && data === 'update'.repeat(50_000);
  return version === 'update' && isWhole ? 'update' : `neither: ${version} ${said}`;
}

/** A board for one test, and where it may leave files. */
export interface Device extends Board {
  readonly directory: string;
}

export function device(t: TestContext): Device {
  const temporary = temporaryDirectory('directory');
  t.after(() => {
    temporary.remove();
  });
  return { directory: temporary.path, ...openBoard(temporary.path) };
}

export async function install(
  board: Device,
  content: Buffer,
  filename = 'release.tar',
): Promise<TrustedTarget> {
  const target = targetFor(content, { filename });
  const staged = join(board.directory, 'staged');
  writeFileSync(staged, content);
  await board.installer.check(target);
  await board.installer.write(target, staged, () => undefined);
  await board.installer.activate(target);
  return target;
}
