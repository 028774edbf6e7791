/** Frames as a host writes them, put together from the specification alone (JESD84-B51 §6.6.22). */
import { createHmac } from 'node:crypto';

import type { RpmbDevice } from '../../../tee/secure-world/storage/rpmb/device.ts';

export interface Fields {
  readonly type: number;
  readonly mac?: Uint8Array;
  readonly data?: Uint8Array;
  readonly nonce?: Uint8Array;
  readonly counter?: number;
  readonly address?: number;
  readonly blocks?: number;
}

export interface Response {
  readonly type: number;
  readonly result: number;
  readonly blocks: number;
  readonly address: number;
  readonly counter: number;
  readonly nonce: Buffer;
  readonly data: Buffer;
  readonly mac: Buffer;
}

export function frame(fields: Fields): Buffer {
  const bytes = Buffer.alloc(512);
  bytes.set(fields.mac ?? [], 196);
  bytes.set(fields.data ?? [], 228);
  bytes.set(fields.nonce ?? [], 484);
  bytes.writeUInt32BE(fields.counter ?? 0, 500);
  bytes.writeUInt16BE(fields.address ?? 0, 504);
  bytes.writeUInt16BE(fields.blocks ?? 0, 506);
  bytes.writeUInt16BE(fields.type, 510);
  return bytes;
}

/** The frames of one write, with the MAC of this key in the last. */
export function signedWrite(
  key: Uint8Array,
  write: { readonly counter: number; readonly address: number; readonly data: Uint8Array },
): Buffer {
  const blocks = write.data.byteLength / 256;
  const frames = Array.from({ length: blocks }, (_, index) =>
    frame({ ...write, type: 3, blocks, data: write.data.subarray(256 * index, 256 * index + 256) }),
  );
  return signed(key, Buffer.concat(frames));
}

export function signed(key: Uint8Array, message: Buffer): Buffer {
  const copy = Buffer.from(message);
  copy.set(macOf(key, message), message.length - 512 + 196);
  return copy;
}

export function macOf(key: Uint8Array, message: Uint8Array): Buffer {
  const mac = createHmac('sha256', key);
  for (let at = 0; at < message.byteLength; at += 512)
    mac.update(message.subarray(at + 228, at + 512));
  return mac.digest();
}

export function ask(device: RpmbDevice, request: Uint8Array): Response {
  device.send(request);
  return parse(device.receive(1));
}

/** Sends a request whose outcome is in the result register. */
export function perform(device: RpmbDevice, request: Uint8Array): Response {
  device.send(request);
  return ask(device, frame({ type: 5 }));
}

export function counterOf(device: RpmbDevice): number {
  return ask(device, frame({ type: 2 })).counter;
}

export function readBlocks(device: RpmbDevice, address: number, blocks: number): Buffer {
  device.send(frame({ type: 4, address }));
  const message = device.receive(blocks);
  return Buffer.concat(
    Array.from({ length: blocks }, (_, index) => parse(message.subarray(512 * index)).data),
  );
}

export function parse(message: Uint8Array): Response {
  const bytes = Buffer.from(message);
  return {
    type: bytes.readUInt16BE(510),
    result: bytes.readUInt16BE(508),
    blocks: bytes.readUInt16BE(506),
    address: bytes.readUInt16BE(504),
    counter: bytes.readUInt32BE(500),
    nonce: bytes.subarray(484, 500),
    data: bytes.subarray(228, 484),
    mac: bytes.subarray(196, 228),
  };
}
