/** Tickets of TLS sessions: how long they count, here and in the next process. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { Tickets, type Ticket } from '../../../agent/io/tls-tickets.ts';
import type { Instant } from '../../../agent/uptane/time.ts';

/** SSL_SESSION of OpenSSL with a version and nothing else; and with a lifetime of 300 s. */
const LASTING = Buffer.from('3003020101', 'hex');
const OF_300_S = Buffer.from('3009020101a9040202012c', 'hex');
const HOUR_MS = 3_600_000;

describe('a TLS ticket', () => {
  const clocks = { now: 1_000_000_000, uptimeMs: 5000 };
  const tickets = (): Tickets =>
    new Tickets(
      () => clocks.now as Instant,
      () => clocks.uptimeMs,
    );
  const of = (session: Buffer, until: number): Ticket => ({
    session,
    protocol: 'TLSv1.3',
    until: until as Instant,
  });

  test('counts until what its handshake has proved is over, or its lifetime', () => {
    const own = tickets();
    own.keep('lasting:443', of(LASTING, clocks.now + HOUR_MS));
    own.keep('short:443', of(OF_300_S, clocks.now + HOUR_MS));
    own.keep('shorter:443', of(OF_300_S, clocks.now + 1000));
    const until = (server: string): number => Number(own.of(server)?.until) - clocks.now;
    assert.equal(until('lasting:443'), HOUR_MS);
    assert.equal(until('short:443'), 300_000);
    assert.equal(until('shorter:443'), 1000);
    own.keep('short:443', of(OF_300_S, clocks.now));
    assert.equal(own.of('short:443'), undefined);
  });

  test('is read with lengths of one byte and of several', () => {
    const own = tickets();
    const ticket = Buffer.concat([Buffer.from('aa82012c', 'hex'), Buffer.alloc(300)]);
    const body = Buffer.concat([ticket, OF_300_S.subarray(2)]);
    const head = Buffer.from([0x30, 0x82, body.length >> 8, body.length & 255]);
    own.keep('server:443', of(Buffer.concat([head, body]), clocks.now + HOUR_MS));
    assert.equal(own.of('server:443')?.until, clocks.now + 300_000);
  });

  test('is read behind what Node.js puts in front of it', () => {
    const own = tickets();
    const prefix = Buffer.from('\0nodejs:tls:session:1\0\0\u0006server', 'latin1');
    own.keep('server:443', of(Buffer.concat([prefix, OF_300_S]), clocks.now + HOUR_MS));
    assert.equal(own.of('server:443')?.until, clocks.now + 300_000);
  });

  test('that cannot be read, whatever its bytes, counts as one without a lifetime', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const own = tickets();
        own.keep('server:443', of(Buffer.from(bytes), clocks.now + HOUR_MS));
        assert.ok((own.of('server:443')?.until ?? clocks.now) <= clocks.now + HOUR_MS);
      }),
    );
    const own = tickets();
    own.keep('server:443', of(OF_300_S.subarray(0, -2), clocks.now + HOUR_MS));
    assert.equal(own.of('server:443')?.until, clocks.now + HOUR_MS);
  });

  test('ends in the next process when it would have ended here, whatever its clock believes', () => {
    const own = tickets();
    own.keep('server:443', of(LASTING, clocks.now + HOUR_MS));
    const left = own.leave();
    clocks.uptimeMs += 10_000;
    // The best known time began anew at what is on disk.
    clocks.now -= 12 * HOUR_MS;
    const next = tickets();
    next.take(left);
    assert.equal(Number(next.of('server:443')?.until) - clocks.now, HOUR_MS - 10_000);
    clocks.now += 24 * HOUR_MS;
    const later = tickets();
    later.take(left);
    assert.equal(later.of('server:443'), undefined, 'a clock that is ahead ends it, too');
  });
});
