/** Where a distribution puts shared libraries of this machine's own architecture. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const LIBRARY_ROOTS = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];
/** Debian's multiarch names, so that a foreign architecture's library is not the one that is found. */
const MULTIARCH: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  arm: 'arm-linux-gnueabihf',
  arm64: 'aarch64-linux-gnu',
  ia32: 'i386-linux-gnu',
  riscv64: 'riscv64-linux-gnu',
  x64: 'x86_64-linux-gnu',
};

/** Every place where a folder of that name may be, the most likely first. */
export function libraryFolders(name: string): string[] {
  return LIBRARY_ROOTS.flatMap((root) => {
    const native = MULTIARCH[process.arch];
    const folders = native === undefined ? subfolders(root) : [native];
    return [...folders.map((folder) => join(root, folder, name)), join(root, name)];
  });
}

function subfolders(root: string): string[] {
  if (!existsSync(root)) return [];
  const entries = readdirSync(root, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
