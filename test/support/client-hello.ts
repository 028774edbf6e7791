/** What a TLS client asks for in its first message. */
import assert from 'node:assert/strict';

export const PRE_SHARED_KEY = 41;
export const EARLY_DATA = 42;

/** Types of the extensions of a ClientHello. Source: RFC 8446 §4.1.2, §4.2. */
export function extensionsOf(record: Buffer): number[] {
  assert.deepEqual([record[0], record[5]], [22, 1]);
  let at = 5 + 4 + 2 + 32;
  at += 1 + (record[at] ?? 0);
  at += 2 + record.readUInt16BE(at);
  at += 1 + (record[at] ?? 0);
  const end = at + 2 + record.readUInt16BE(at);
  const types: number[] = [];
  for (at += 2; at < end; at += 4 + record.readUInt16BE(at + 2))
    types.push(record.readUInt16BE(at));
  return types;
}
