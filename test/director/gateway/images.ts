/** `/repo/targets/FILENAME`: images, whole or in part, as honest as the faults let them be. */
import { Readable } from 'node:stream';

import { Refusal } from '../failure.ts';
import { spoilDownload, type Download } from '../faults/downloads.ts';
import type { Image } from '../metadata/image-content.ts';
import type { World } from '../world.ts';
import { fileName } from './metadata.ts';
import type { Gateway, PeerOf } from './peers.ts';

const PREFIX = '/repo/targets/';
const HASHED = /^(?<directory>.*\/)?(?<hash>[0-9a-f]{64,128})\.(?<base>[^/]+)$/su;

export function addImageRoutes(app: Gateway, world: World, peerOf: PeerOf): void {
  app.get(`${PREFIX}*`, async (request, reply) => {
    const { device, socket } = peerOf(request);
    const name = fileName(request.url, PREFIX);
    const image =
      world.images.trust.dialect === 'tuf'
        ? findConsistent(world.images, name)
        : world.images.findImage(name);
    // A commit has no bytes here: see /treehub.
    if (image?.sha512 === undefined)
      throw new Refusal(404, 'missing_entity', `there is no image ${name}`);
    const file =
      image.encrypt === true ? await world.metadata.cipherText(device, image.filename) : image;
    if (file === undefined || !(await world.images.files.has(file.sha256))) {
      throw new Refusal(404, 'missing_entity', `there is nothing of ${name} for ${device}`);
    }
    const { sha256 } = file;
    const honest = planDownload(file, request.headers.range, (span) =>
      world.images.files.read(sha256, span),
    );
    const reset = (): void => {
      socket.resetAndDestroy();
    };
    const { range, lengthBytes, body } = spoilDownload(
      honest,
      world.faults,
      { device, stage: 'image', name },
      reset,
    );
    reply.header('content-type', 'application/octet-stream').header('accept-ranges', 'bytes');
    if (lengthBytes !== undefined) reply.header('content-length', lengthBytes);
    if (range !== undefined) reply.code(206).header('content-range', range);
    return reply.send(Readable.from(body, { objectMode: false }));
  });
}

/** Consistent snapshots put a hash before the last part of the name (TUF specification §6.2). */
function findConsistent(images: World['images'], path: string): Image | undefined {
  const { directory = '', hash, base = '' } = HASHED.exec(path)?.groups ?? {};
  const image = images.findImage(`${directory}${base}`);
  return image?.sha256 === hash || image?.sha512 === hash ? image : undefined;
}

interface Span {
  readonly start: number;
  /** Of the last byte. */
  readonly end: number;
}

/** @throws Refusal 416 `range_not_satisfiable` */
export function planDownload(
  image: Pick<Image, 'lengthBytes'>,
  header: string | undefined,
  read: (span: { readonly start: number; readonly end: number }) => AsyncIterable<Buffer>,
): Download {
  const total = image.lengthBytes;
  const span = readRange(header ?? '', total);
  if (span === undefined) {
    return {
      offsetBytes: 0,
      lengthBytes: total,
      range: undefined,
      body: read({ start: 0, end: total }),
    };
  }
  const { start, end } = span;
  if (start > end) {
    const headers = { 'content-range': `bytes */${String(total)}` };
    throw new Refusal(416, 'range_not_satisfiable', `the image has ${String(total)} bytes`, {
      headers,
    });
  }
  return {
    offsetBytes: start,
    lengthBytes: end - start + 1,
    range: `bytes ${String(start)}-${String(end)}/${String(total)}`,
    body: read({ start, end: end + 1 }),
  };
}

/**
 * Source: RFC 9110 §14.1.2 and §14.2: several ranges may be ignored, a malformed one must be.
 *
 * @returns `undefined` for the whole file
 */
function readRange(header: string, total: number): Span | undefined {
  const { first, last } = /^bytes=(?<first>\d*)-(?<last>\d*)$/u.exec(header)?.groups ?? {};
  if (first === undefined || last === undefined) return undefined;
  if (first === '') {
    return last === '' ? undefined : { start: Math.max(0, total - Number(last)), end: total - 1 };
  }
  const start = Number(first);
  if (last === '') return { start, end: total - 1 };
  return Number(last) < start ? undefined : { start, end: Math.min(Number(last), total - 1) };
}
