/**
 * A second reader of OP-TEE's REE-FS, to judge the first: written from the format alone and sharing
 * no code with the emulator. It accepts what OP-TEE accepts and throws at the first thing that is off.
 */
import assert from 'node:assert/strict';
import { createDecipheriv, createHash, createHmac } from 'node:crypto';

export interface FoundObject {
  /** RFC 4122 text form. */
  readonly ta: string;
  readonly id: Buffer;
  /** Head, attributes and data stream. */
  readonly data: Buffer;
  readonly file: string;
}

/** From the first byte to before the second. */
export type Range = readonly [from: number, to: number];

export interface Found {
  readonly objects: readonly FoundObject[];
  /** What is read of each file; the rest is free for the next commit. */
  readonly used: ReadonlyMap<string, readonly Range[]>;
  /** The largest node number as each file states it. */
  readonly maxNodeIds: ReadonlyMap<string, number>;
}

type Files = (name: string) => Uint8Array | undefined;

export function findObjects(files: Files, huk: Uint8Array): Found {
  const ssk = hmac(huk, Buffer.concat([Buffer.from('BEEF'.repeat(8)), usage('tee_fs_ssk')]));
  const used = new Map<string, Range[]>();
  const maxNodeIds = new Map<string, number>();
  const found = { files, used, maxNodeIds };
  const dirf = decode('dirf.db', { ...found, tsk: hmac(ssk, Buffer.of(0)) });
  assert.equal(dirf.length % 120, 0);
  const objects: FoundObject[] = [];
  for (let at = 0; at < dirf.length; at += 120) {
    const [uuid, oid, hash] = [dirf.subarray(at, at + 16), at + 16, at + 84];
    const oidLength = dirf.readUInt32LE(at + 80);
    if (oidLength === 0 && dirf[oid] === 0) continue;
    assert.ok(oidLength <= 64);
    if (oidLength === 0) assert.equal(dirf[oid], 1);
    const file = dirf.readUInt32LE(at + 116).toString(16);
    const rootHash = dirf.subarray(hash, hash + 32);
    const data = decode(file, { ...found, tsk: hmac(ssk, uuid), rootHash });
    objects.push({ ta: uuidText(uuid), id: dirf.subarray(oid, oid + oidLength), data, file });
  }
  return { objects, used, maxNodeIds };
}

interface Source {
  readonly files: Files;
  readonly used: Map<string, Range[]>;
  readonly maxNodeIds: Map<string, number>;
  readonly tsk: Buffer;
  /** Pins the version; without it the head counters decide. */
  readonly rootHash?: Buffer;
}

function decode(name: string, { files, used, maxNodeIds, tsk, rootHash }: Source): Buffer {
  const file = Buffer.from(files(name) ?? assert.fail(`${name} is missing`));
  const ranges: Range[] = [];
  used.set(name, ranges);
  const take: Take = (from, length) => {
    assert.ok(from + length <= file.length, `${name} ends before ${String(from + length)}`);
    ranges.push([from, from + length]);
    return file.subarray(from, from + length);
  };

  const version = rootHash === undefined ? newestHead(file) : pinnedRoot(file, rootHash);
  if (rootHash === undefined) ranges.push([64, 68], [132, 136]);
  const head = take(68 * version, 68);
  const [iv, tag, encFek] = [head.subarray(0, 16), head.subarray(16, 32), head.subarray(32, 48)];
  const ecb = createDecipheriv('aes-256-ecb', tsk, null).setAutoPadding(false);
  const fek = Buffer.concat([ecb.update(encFek), ecb.final()]);
  const nodes = new Map([[1, take(4096 + 66 * version, 66)]]);
  const root = nodes.get(1) ?? assert.fail();
  const counter = head.subarray(64, 68);
  const aad = Buffer.concat([root.subarray(0, 16), counter, encFek, iv]);
  const imeta = gcm(fek, { iv, tag, aad, text: head.subarray(48, 64) });
  const [length, maxNodeId] = [Number(imeta.readBigUInt64LE(0)), imeta.readUInt32LE(8)];
  const blocks = Math.ceil(length / 4096);
  maxNodeIds.set(name, maxNodeId);
  // OP-TEE counts nodes only from the second on.
  assert.ok(maxNodeId >= (blocks > 1 ? blocks : 0));

  readNodes(nodes, maxNodeId, take);
  verifyHashes(nodes, imeta.subarray(0, 8), name);

  const content = Array.from({ length: blocks }, (_, block) => {
    const node = nodes.get(block + 1) ?? assert.fail();
    const nth = 2 * block + (node.readUInt16LE(64) & 1);
    const text = take(4096 * (2 + nth + Math.trunc(nth / 61)), 4096);
    const blockIv = node.subarray(32, 48);
    const blockAad = Buffer.concat([encFek, blockIv]);
    return gcm(fek, { iv: blockIv, tag: node.subarray(48, 64), aad: blockAad, text });
  });
  return Buffer.concat(content).subarray(0, length);
}

type Take = (from: number, length: number) => Buffer;

/** Blocks 1, 63, 125, ... hold 31 pairs of nodes each. */
function readNodes(nodes: Map<number, Buffer>, maxNodeId: number, take: Take): void {
  for (let id = 2; id <= maxNodeId; id += 1) {
    const flags = nodes.get(id >> 1)?.readUInt16LE(64) ?? assert.fail();
    const copy = (flags >> (1 + (id % 2))) & 1;
    const block = 1 + 62 * Math.trunc((id - 1) / 31);
    nodes.set(id, take(4096 * block + 132 * ((id - 1) % 31) + 66 * copy, 66));
  }
}

function verifyHashes(nodes: ReadonlyMap<number, Buffer>, length: Buffer, name: string): void {
  for (const [id, node] of nodes) {
    const hash = createHash('sha256').update(node.subarray(32));
    if (id === 1) hash.update(length);
    for (const child of [2 * id, 2 * id + 1]) {
      hash.update(nodes.get(child)?.subarray(0, 32) ?? Buffer.alloc(0));
    }
    assert.deepEqual(hash.digest(), node.subarray(0, 32), `${name}: hash of node ${String(id)}`);
  }
}

/** OP-TEE's rule: an even counter belongs in head 0, an odd one in head 1; the larger one wins. */
function newestHead(file: Buffer): 0 | 1 {
  const [zero, one] = [file.readUInt32LE(64), file.readUInt32LE(132)];
  if (zero % 2 === 0) return one % 2 === 0 || zero > one ? 0 : 1;
  assert.equal(one % 2, 1, 'both head counters are wrong');
  return 1;
}

function pinnedRoot(file: Buffer, rootHash: Buffer): 0 | 1 {
  if (file.subarray(4096, 4096 + 32).equals(rootHash)) return 0;
  assert.deepEqual(file.subarray(4162, 4162 + 32), rootHash, 'no root has the listed hash');
  return 1;
}

function gcm(
  key: Buffer,
  { iv, tag, aad, text }: { iv: Buffer; tag: Buffer; aad: Buffer; text: Buffer },
): Buffer {
  const decipher = createDecipheriv('aes-128-gcm', key, iv);
  decipher.setAuthTag(tag).setAAD(aad);
  return Buffer.concat([decipher.update(text), decipher.final()]);
}

function hmac(key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

function usage(name: string): Buffer {
  return Buffer.from(`ONLY_FOR_${name}\0`);
}

function uuidText(memory: Buffer): string {
  const text = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  return [
    text(memory.readUInt32LE(0), 8),
    text(memory.readUInt16LE(4), 4),
    text(memory.readUInt16LE(6), 4),
    memory.toString('hex', 8, 10),
    memory.toString('hex', 10, 16),
  ].join('-');
}
