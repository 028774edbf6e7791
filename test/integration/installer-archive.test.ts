/** What may come out of an archive. Everything here is refused, or stays in its tree. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { lstat, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';

import fc from 'fast-check';

import {
  formatOf,
  inspectArchive,
  unpackArchive,
  type Archive,
} from '../../agent/io/installers/directory/archive.ts';
import { ArchiveRefused } from '../../agent/io/installers/directory/tar-entries.ts';
import { readTree, treeDigest } from '../../agent/io/installers/directory/tree.ts';
import { tarArchive, type PackedEntry } from '../support/tar-archive.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const LIMITS = { maxBytes: 1024 * 1024, maxEntries: 50, allowSetuid: false };

const directory = temporaryDirectory('archive');
let made = 0;
after(() => {
  directory.remove();
});

function archiveOf(content: Buffer, changes: Partial<Archive> = {}): Archive {
  made += 1;
  const path = join(directory.path, `${String(made)}.tar`);
  writeFileSync(path, content);
  return { path, format: 'tar', limits: LIMITS, ...changes };
}

const file = (path: string, more: Partial<PackedEntry> = {}): PackedEntry => ({
  path,
  content: Buffer.from(`content of ${path}`),
  ...more,
});
const symlink = (path: string, link: string): PackedEntry => ({ path, link, typeflag: '2' });
const hardlink = (path: string, link: string): PackedEntry => ({ path, link, typeflag: '1' });
const folder = (path: string, mode = 0o755): PackedEntry => ({ path, typeflag: '5', mode });

async function refuses(
  content: Buffer,
  problem: RegExp,
  changes?: Partial<Archive>,
): Promise<void> {
  await assert.rejects(inspectArchive(archiveOf(content, changes)), (error) => {
    assert.ok(error instanceof ArchiveRefused, String(error));
    assert.match(error.message, problem);
    return true;
  });
}

describe('an entry is refused', () => {
  const cases: readonly (readonly [string, readonly PackedEntry[], RegExp])[] = [
    ['with an absolute path', [file('/etc/passwd')], /names an absolute path/u],
    ['with .. in its path', [file('a/../../b')], /has "\.\." in "a\/\.\.\/\.\.\/b"/u],
    ['that is ..', [folder('..')], /has "\.\."/u],
    ['with an empty name in its path', [file('a//b')], /has "" in "a\/\/b"/u],
    ['with no name at all', [file('')], /has no name|has ""/u],
    ['with a control character', [file('a\nb')], /control character/u],
    ['with an escape sequence', [file('a\u001b[2Jb')], /control character/u],
    ['with a NUL in a pax path', [file('a', { pax: { path: 'a\0b' } })], /control character/u],
    ['with a name that is too long', [file('n'.repeat(256))], /name that is too long/u],
    ['with a path that is too long', [file('abcdefg/'.repeat(140) + 'x')], /too long/u],
    [
      'that is a symlink to an absolute path',
      [symlink('a', '/etc')],
      /may leave the tree: "\/etc"/u,
    ],
    ['that is a symlink above the root', [symlink('d/a', '../../b')], /may leave the tree/u],
    ['that is a symlink with .. after a name', [symlink('d/e/a', 'b/../../../c')], /may leave/u],
    ['that is a symlink to nothing', [symlink('a', '')], /may leave the tree: ""/u],
    ['that leads through a symlink', [symlink('a', '.'), file('a/b')], /through "a", a symlink/u],
    ['that leads through a file', [file('a'), file('a/b')], /leads through "a", a file/u],
    ['that replaces a directory by a link', [file('a/b'), symlink('a', 'c')], /is there twice/u],
    ['that is there twice', [file('a'), file('./a')], /"a" is there twice/u],
    ['that is a directory twice', [folder('a'), folder('a/')], /"a" is there twice/u],
    ['that is a hard link out of the tree', [hardlink('a', '/etc/shadow')], /absolute path/u],
    ['that is a hard link above it', [hardlink('a', '../b')], /has "\.\." in "\.\.\/b"/u],
    [
      'that is a hard link to no file before it',
      [hardlink('a', 'b'), file('b')],
      /no file before/u,
    ],
    [
      'that is a hard link to a symlink',
      [symlink('s', 'b'), hardlink('a', 's')],
      /no file before it/u,
    ],
    ['that is a character device', [{ path: 'null', typeflag: '3' }], /is a character device/u],
    ['that is a block device', [{ path: 'sda', typeflag: '4' }], /is a block device/u],
    ['that is a fifo', [{ path: 'pipe', typeflag: '6' }], /is a fifo/u],
    ['that is sparse as GNU writes it', [{ path: 'x', typeflag: 'S' }], /is a sparse file/u],
    ['of another type', [{ path: 'x', typeflag: 'V' }], /is of type "V"/u],
    [
      'that is sparse as pax writes it',
      [file('a', { pax: { 'GNU.sparse.major': '1' } })],
      /pax record "GNU.sparse.major" is not taken/u,
    ],
    ['whose pax header gives another size', [file('a', { pax: { size: '5' } })], /"size" is not/u],
    [
      'with a capability as an attribute',
      [file('a', { pax: { 'SCHILY.xattr.security.capability': 'x' } })],
      /pax record "SCHILY.xattr.security.capability" is not taken/u,
    ],
    ['that is setuid', [file('su', { mode: 0o4755 })], /"su" is setuid or setgid/u],
    ['that is setgid', [folder('d', 0o2755)], /"d" is setuid or setgid/u],
    ['that is a link with content', [{ ...file('a'), typeflag: '1', link: 'b' }], /with content/u],
    ['that is a directory with content', [{ ...file('a'), typeflag: '5' }], /with content/u],
  ];
  for (const [what, entries, problem] of cases) {
    test(what, () => refuses(tarArchive(entries), problem));
  }
});

describe('an archive is refused', () => {
  const good = tarArchive([file('a')]);

  test('whose files are larger together than is allowed, before it is read further', async () => {
    const half = LIMITS.maxBytes / 2 + 1;
    const bomb = tarArchive([
      file('a', { content: Buffer.alloc(half) }),
      file('b', { sizeBytes: half }),
    ]);
    await refuses(bomb, /unpacks to more than 1048576 bytes \(installer.max_unpacked\)/u);
    const large = tarArchive([file('a', { sizeBytes: 8 * 1024 ** 3 - 1 })]);
    await refuses(gzipSync(large), /unpacks to more than/u, { format: 'tar.gz' });
  });

  test('with more entries than are allowed, also when they are only in the names of others', async () => {
    const many = Array.from({ length: 51 }, (_, index) => folder(`d${String(index)}`));
    await refuses(tarArchive(many), /more than 50 entries \(installer.max_entries\)/u);
    await refuses(tarArchive([file('a/'.repeat(60) + 'x')]), /more than 50 entries/u);
  });

  test('with a name as large as a memory', async () => {
    const name = { path: 'x', typeflag: 'x', sizeBytes: 4 * 1024 ** 3 };
    await refuses(tarArchive([name]), /a name or its records are 4294967296 bytes long/u);
  });

  test('with pax records that are malformed or there twice', async () => {
    const pax = (text: string): Buffer =>
      tarArchive([{ path: 'pax', typeflag: 'x', content: Buffer.from(text) }, file('a')]);
    for (const text of ['12 path=a\n', '9 path=abc', 'x path=a\n', '99999 path=a\n', '6 path\n']) {
      await refuses(pax(text), /a pax record is malformed/u);
    }
    await refuses(pax('10 path=a\n'.repeat(2)), /pax record "path" is there twice/u);
  });

  test('with a global header that would name the files', async () => {
    const global = { path: 'g', typeflag: 'g', content: Buffer.from('10 path=a\n') };
    await refuses(tarArchive([global, file('a')]), /pax record "path" is not taken/u);
  });

  test('with anything after its end, be it another archive', async () => {
    await refuses(Buffer.concat([good, tarArchive([file('b')])]), /something follows its end/u);
    await refuses(Buffer.concat([good, Buffer.from('x')]), /something follows its end/u);
    for (const [format, pack] of [
      ['tar.gz', gzipSync] as const,
      ['tar.zst', zstdCompressSync] as const,
    ]) {
      const trailing = Buffer.concat([pack(good), Buffer.alloc(16)]);
      await refuses(trailing, /something follows its end/u, { format });
    }
    const second = Buffer.concat([zstdCompressSync(good), zstdCompressSync(good)]);
    await refuses(second, /something follows its end/u, { format: 'tar.zst' });
  });

  test('that ends too early', async () => {
    await refuses(good.subarray(0, 512), /ends within "a"/u);
    await refuses(good.subarray(0, 1024), /ends before its end mark/u);
    await refuses(good.subarray(0, 520), /ends within "a"/u);
    await refuses(good.subarray(0, 700), /ends before its end mark/u);
    await refuses(Buffer.alloc(0), /ends before its end mark/u);
    await refuses(
      tarArchive([{ path: 'n', typeflag: 'L', content: Buffer.from('b') }]),
      /no entry/u,
    );
  });

  test('that is none', async () => {
    await refuses(Buffer.alloc(2048, 'x'), /wrong checksum: no tar archive/u);
    await refuses(gzipSync(good), /ends before its end mark|wrong checksum/u);
    const cut = archiveOf(gzipSync(good).subarray(0, 40), { format: 'tar.gz' });
    await assert.rejects(inspectArchive(cut), /unexpected end of file/u);
    await assert.rejects(inspectArchive(archiveOf(good, { format: 'tar.zst' })));
  });
});

describe('an archive is unpacked', () => {
  const unpacked = async (archive: Archive): Promise<string> => {
    made += 1;
    const root = join(directory.path, `tree-${String(made)}`);
    mkdirSync(root);
    await unpackArchive(archive, root, () => undefined);
    return root;
  };

  test('as the tar of this machine packs it, in each format, names longer than a header among it', async () => {
    const source = join(directory.path, 'source');
    const deep = join(source, 'd'.repeat(120), 'e'.repeat(130));
    mkdirSync(deep, { recursive: true });
    writeFileSync(join(deep, 'fü'), 'deep', { mode: 0o600 });
    writeFileSync(join(source, 'run'), '#!/bin/sh\n', { mode: 0o755 });
    execFileSync('ln', ['-s', `${'d'.repeat(120)}/${'e'.repeat(130)}/fü`, join(source, 'link')]);
    execFileSync('ln', [join(source, 'run'), join(source, 'run-too')]);
    execFileSync('ln', ['-s', '../../run', join(deep, 'up')]);
    const wanted = treeDigest(await readTree(source));
    for (const style of ['posix', 'gnu']) {
      const tar = execFileSync('tar', [`--format=${style}`, '-C', source, '-c', '.']);
      const formats = [
        ['tar', tar],
        ['tar.gz', gzipSync(tar)],
        ['tar.zst', zstdCompressSync(tar)],
      ] as const;
      for (const [format, content] of formats) {
        const archive = archiveOf(content, { format });
        const root = await unpacked(archive);
        assert.equal(treeDigest(await inspectArchive(archive)), wanted, `${style} ${format}`);
        assert.equal(treeDigest(await readTree(root)), wanted, `${style} ${format}`);
        assert.equal((await lstat(join(root, 'run'))).nlink, 2);
      }
    }
  });

  test('as git packs it, with the commit in a global header', async () => {
    const comment = {
      path: 'pax_global_header',
      typeflag: 'g',
      content: Buffer.from('16 comment=0123\n'),
    };
    const entries = await inspectArchive(archiveOf(tarArchive([comment, file('a')])));
    assert.deepEqual(
      entries.map(({ path }) => path),
      ['a'],
    );
  });

  test('setuid only where the settings allow it', async () => {
    const content = tarArchive([file('su', { mode: 0o4755 })]);
    const root = await unpacked(archiveOf(content, { limits: { ...LIMITS, allowSetuid: true } }));
    assert.equal((await lstat(join(root, 'su'))).mode & 0o7777, 0o4755);
  });

  test('so that its owner can read and remove it, whatever it says', async () => {
    const content = tarArchive([folder('d', 0), file('d/f', { mode: 0 })]);
    const root = await unpacked(archiveOf(content));
    assert.equal((await lstat(join(root, 'd'))).mode & 0o7777, 0o700);
    assert.equal((await lstat(join(root, 'd/f'))).mode & 0o7777, 0o400);
  });

  test('by its name, and by no other', () => {
    const names = ['a.tar', 'a.tar.gz', 'a.tgz', 'a.tar.zst', 'a.tzst', 'a.zip', 'tar', 'a.tar.xz'];
    assert.deepEqual(names.map(formatOf), [
      ...['tar', 'tar.gz', 'tar.gz', 'tar.zst', 'tar.zst'],
      ...[undefined, undefined, undefined],
    ]);
  });
});

/** Names that meet each other, and some that climb, and lie. */
const NAME = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('a', 'b', 'c', 'd') },
  { weight: 1, arbitrary: fc.constantFrom('..', '.', '', '\0', 'x\u001b') },
);
const PATH = fc
  .tuple(
    fc.constantFrom('', '', '', '', './', '../', '/'),
    fc.array(NAME, { minLength: 1, maxLength: 4 }),
  )
  .map(([start, names]) => start + names.join('/'));
const TYPEFLAGS = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom('0', '1', '2', '2', '2', '5', '5') },
  { weight: 1, arbitrary: fc.constantFrom('3', '6', '7', 'S') },
);
const MODE = fc.constantFrom(0o644, 0o755, 0, 0o1777);
const ENTRY: fc.Arbitrary<PackedEntry> = fc.oneof(
  fc.record({ path: PATH, typeflag: TYPEFLAGS, link: PATH, mode: MODE }),
  // Links that lead on from where other links lead.
  fc.record({
    path: fc.constantFrom('a', 'b', 'c', 'd/a'),
    typeflag: fc.constant('2'),
    link: fc.constantFrom('.', 'a/..', 'a/../a', 'b/../a', '../a', 'd/../a'),
  }),
);

test('whatever is in an archive, it is refused or all of it stays below its root, as foreseen', async () => {
  let accepted = 0;
  const property = fc.asyncProperty(
    fc.array(ENTRY, { minLength: 1, maxLength: 5 }),
    async (entries) => {
      const outside = join(directory.path, `outside-${String((made += 1))}`);
      const root = join(outside, 'deep', 'root');
      mkdirSync(root, { recursive: true });
      writeFileSync(join(outside, 'deep', 'a'), 'outside');
      const archive = archiveOf(tarArchive(entries));
      const foreseen = await inspectArchive(archive).catch((error: unknown) => {
        assert.ok(error instanceof ArchiveRefused, String(error));
        return undefined;
      });
      if (foreseen === undefined) return;
      accepted += 1;
      await unpackArchive(archive, root, () => undefined);
      assert.equal(treeDigest(await readTree(root)), treeDigest(foreseen));
      assert.deepEqual(readdirSync(join(outside, 'deep')), ['a', 'root']);
      assert.equal(readFileSync(join(outside, 'deep', 'a'), 'utf8'), 'outside');
      for (const { path, type } of foreseen) {
        if (type !== 'symlink') continue;
        const at = join(root, path);
        const end = await realpath(at).catch(() => root);
        assert.ok(end === root || end.startsWith(`${root}/`), `${path} -> ${await readlink(at)}`);
      }
    },
  );
  await fc.assert(property, { numRuns: 1000 });
  assert.ok(
    accepted > 50,
    `only ${String(accepted)} archives were accepted: the property says little`,
  );
});
