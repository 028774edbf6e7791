/**
 * What decrypting and proving an image costs, with cipher text that is in memory already.
 *
 *     node test/bench/encrypted.bench.ts [MIB]
 *
 * Once from the start, with the hashes of cipher text and image; once resumed, with that of the image
 * alone; and beside them what of it is AES-GCM and what SHA-256, as one call each per chunk. Prints;
 * judges nothing.
 */
import { createDecipheriv, createHash, randomBytes } from 'node:crypto';

import { openPlain } from '../../agent/io/encrypted/open-plain.ts';
import { ImageDigest } from '../../agent/io/image-file.ts';
import { DEVICE_ID, encryptedImage, pieces } from '../support/encrypted-image.ts';
import { softwareKey } from '../support/secrets-key.ts';

const MEBIBYTE = 1024 ** 2;
const BYTES = Number(process.argv[2] ?? 256) * MEBIBYTE;
const CHUNK_BYTES = 65_536;
const NETWORK_BYTES = 65_536;

const key = softwareKey('EC');
const content = Buffer.alloc(BYTES, randomBytes(MEBIBYTE));
const image = await encryptedImage(content, key.registered, { chunkBytes: CHUNK_BYTES });
const recipient = { deviceId: DEVICE_ID, key: (): typeof key.key => key.key };

async function open(offset: number): Promise<void> {
  const { target, encrypted, cipher } = image;
  const plain = openPlain(target, encrypted, recipient, (from) =>
    pieces(cipher.subarray(from), NETWORK_BYTES),
  );
  const digest = new ImageDigest(target);
  digest.update(content.subarray(0, offset));
  for await (const piece of plain(offset)) digest.update(piece);
  digest.verify();
}

function eachChunk(act: (chunk: Buffer) => void): void {
  for (let at = 0; at < BYTES; at += CHUNK_BYTES) act(content.subarray(at, at + CHUNK_BYTES));
}

function gcm(): void {
  const nonce = Buffer.alloc(12);
  eachChunk((chunk) => {
    createDecipheriv('aes-256-gcm', image.contentKey, nonce).update(chunk);
  });
}

function sha256(): void {
  const hash = createHash('sha256');
  eachChunk((chunk) => hash.update(chunk));
  hash.digest();
}

async function measured(what: string, act: () => unknown): Promise<void> {
  const { maxRSS: before } = process.resourceUsage();
  const start = performance.now();
  const cpu = process.cpuUsage();
  await act();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const rate = (BYTES / 1e6 / seconds).toFixed(0).padStart(6);
  const load = ((user + system) / 1e6 / (BYTES / 1e9)).toFixed(2).padStart(6);
  const growth = ((process.resourceUsage().maxRSS - before) / 1024).toFixed(0).padStart(4);
  process.stdout.write(`${what.padEnd(44)} ${rate} MB/s ${load} CPU s/GB ${growth} MiB more\n`);
}

await measured('warm-up', () => open(0));
await measured('decrypt, prove cipher text and image', () => open(0));
// From the second chunk on: without the hashes of the cipher text.
await measured('the same resumed: prove the image', () => open(CHUNK_BYTES));
await measured('AES-256-GCM alone', gcm);
await measured('SHA-256 alone', sha256);
