import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError, OtaError } from '../../../agent/errors.ts';
import type { Instant } from '../../../agent/uptane/time.ts';
import { drive, type Hands, type Rest } from '../../../provisioning/rotate.ts';
import {
  choiceOf,
  formatRecord,
  noteCertificate,
  NOTHING_YET,
  parseRecord,
} from '../../../provisioning/rotation-record.ts';
import {
  begin,
  inUse,
  isCancellable,
  next,
  STEPS,
  SUBJECTS,
  type Rotation,
  type Subject,
  type Which,
} from '../../../provisioning/rotation.ts';
import { MemoryRecord } from './memory-record.ts';

const start = (of: Subject): Rotation =>
  begin({ of, startedAt: 0 as Instant, oldKey: '02', newKey: '0202', oldCertificate: 'aa' });

class PowerCut extends Error {}

/** How the servers answer; a real one does each of these. */
interface Servers {
  /** Of the CA, or of the Director to a registration. */
  readonly request: 'grant' | 'refuse' | 'say-yes-and-ignore' | 'grant-and-answer-409';
  readonly gatewayTakesNew: boolean;
}

/** What goes wrong at one call of one attempt. */
interface Fault {
  readonly call: number;
  readonly what: 'cut-before' | 'cut-after' | 'unreachable' | 'answer-lost';
}

/** A token, a disk and servers, in memory. */
class World {
  readonly token = new Set<Which>(['old']);
  readonly accepted = new Set<Which>(['old']);
  disk: Rotation | undefined;
  ended: Rotation | undefined;
  readonly #servers: Servers;

  constructor(of: Subject, servers: Servers) {
    this.#servers = servers;
    this.disk = start(of);
  }

  /** One process, from what is on disk. */
  async attempt(fault: Fault | undefined): Promise<Rest | 'cut' | 'over'> {
    if (this.disk === undefined) return 'over';
    let calls = 0;
    const around = async (act: () => Promise<void>): Promise<void> => {
      calls += 1;
      const what = calls === fault?.call ? fault.what : undefined;
      if (what === 'cut-before') throw new PowerCut();
      if (what === 'unreachable') throw unreachable();
      await act();
      this.check();
      if (what === 'cut-after') throw new PowerCut();
      if (what === 'answer-lost') throw unreachable();
    };
    try {
      return await drive(this.disk, this.#hands(around), async (after, before) => {
        calls += 1;
        if (calls === fault?.call && fault.what === 'cut-before') throw new PowerCut();
        this.disk = after;
        if (after === undefined) this.ended = before;
        this.check();
        await Promise.resolve();
        if (calls === fault?.call && fault.what === 'cut-after') throw new PowerCut();
      });
    } catch (error) {
      if (error instanceof PowerCut) return 'cut';
      throw error;
    }
  }

  /** At every instant. */
  check(): void {
    const working = [...this.token].filter((one) => this.accepted.has(one));
    assert.ok(working.length > 0, 'the device has no key that the gateway accepts');
    if (this.disk !== undefined) assert.ok(this.token.has(inUse(this.disk)), 'uses what is gone');
  }

  #hands(around: (act: () => Promise<void>) => Promise<void>): Hands {
    const { token, accepted } = this;
    const act = (effect: () => void): Promise<void> =>
      around(() => {
        effect();
        return Promise.resolve();
      });
    return {
      make: () => act(() => void token.add('new')),
      certify: () =>
        act(() => {
          this.#certify();
        }),
      register: () =>
        act(() => {
          this.#register();
        }),
      prove: (_rotation, which) =>
        act(() => {
          if (!token.has(which)) throw refusal(400);
          if (!accepted.has(which)) throw refusal(400);
        }),
      remove: (_rotation, which) => act(() => void token.delete(which)),
    };
  }

  #certify(): void {
    if (this.#servers.request === 'refuse') throw refusal(403);
    this.token.add('new');
    if (this.#servers.gatewayTakesNew) this.accepted.add('new');
  }

  /** A Director knows one key at a time. */
  #register(): void {
    const { request } = this.#servers;
    if (request === 'refuse') throw refusal(409);
    if (request === 'say-yes-and-ignore') return;
    const knewIt = this.accepted.has('new');
    this.accepted.clear();
    this.accepted.add('new');
    if (request === 'grant-and-answer-409' && knewIt) throw refusal(409);
  }
}

function unreachable(): OtaError {
  return new OtaError('GATEWAY_UNREACHABLE', { url: 'u', cause: 'c', remedy: 'r' });
}

function refusal(status: number): OtaError {
  return new OtaError('ENROLMENT_REFUSED', { url: 'u', status, answer: 'no', remedy: 'r' });
}

const servers = fc.record<Servers>({
  request: fc.constantFrom('grant', 'refuse', 'say-yes-and-ignore', 'grant-and-answer-409'),
  gatewayTakesNew: fc.boolean(),
});
const faults = fc.array(
  fc.record<Fault>({
    call: fc.integer({ min: 1, max: 10 }),
    what: fc.constantFrom('cut-before', 'cut-after', 'unreachable', 'answer-lost'),
  }),
  { maxLength: 8 },
);

describe('rotation', () => {
  test('ends with one key that the gateway accepts, whatever went wrong on the way', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...SUBJECTS),
        servers,
        faults,
        async (of, answers, wrong) => {
          const world = new World(of, answers);
          for (const fault of wrong) await world.attempt(fault);
          const rest = await world.attempt(undefined);
          assert.ok(rest === 'over' || (rest !== 'cut' && rest.is !== 'waiting'));
          assert.equal(world.token.size, 1);
          world.check();
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('says why the old one stays', async () => {
    const world = new World('uptane', { request: 'refuse', gatewayTakesNew: true });
    const rest = await world.attempt(undefined);
    assert.deepEqual(rest, {
      is: 'undone',
      failure: { code: 'ENROLMENT_REFUSED', details: { ...refusal(409).details } },
    });
    assert.deepEqual([...world.token], ['old']);
  });

  test('keeps both keys for as long as the gateway accepts neither', async () => {
    const world = new World('uptane', { request: 'grant', gatewayTakesNew: true });
    world.disk = { ...start('uptane'), at: 'proving-new' };
    world.token.add('new');
    const { accepted } = world;
    accepted.delete('old');
    world.check = () => undefined;
    const rest = await world.attempt(undefined);
    assert.ok(typeof rest !== 'string' && rest.is === 'waiting');
    assert.deepEqual([...world.token], ['old', 'new']);
  });

  test('takes a registration that counted although its answer says no', async () => {
    const world = new World('uptane', { request: 'grant-and-answer-409', gatewayTakesNew: true });
    await world.attempt({ call: 3, what: 'answer-lost' });
    const rest = await world.attempt(undefined);
    assert.deepEqual(rest, { is: 'rotated' });
    assert.deepEqual([...world.token], ['new']);
  });

  test('can be cancelled until the gateway may know the new key', () => {
    const able = STEPS.filter((at) => isCancellable({ at }));
    assert.deepEqual(able, ['making', 'certifying']);
    const cancelled = next(start('tls'), { type: 'cancelled' });
    assert.equal(cancelled?.at, 'removing-new');
  });

  test('refuses what cannot happen', () => {
    assert.throws(() => next(start('tls'), { type: 'removed' }));
    assert.throws(() => next(start('certificate'), { type: 'made' }));
  });
});

describe('the record of rotations', () => {
  test('is read as it was written', () => {
    const failure = { code: 'GATEWAY_TLS', details: { url: 'u', status: 3 } } as const;
    const record = {
      rotation: { ...start('tls'), at: 'removing-new', failure } as const,
      aside: start('uptane'),
      last: { of: 'tls', outcome: 'undone', endedAt: 7 as Instant, failure } as const,
      since: { tls: 5 as Instant },
      tried: { certificate: 6 as Instant },
    };
    assert.deepEqual(parseRecord(formatRecord(record)), record);
    assert.deepEqual(parseRecord(undefined), NOTHING_YET);
  });

  test('that makes no sense is STORAGE_CORRUPT', () => {
    for (const text of ['', '[]', '{"since":{},"tried":{},"rotation":{"of":"tls","at":"done"}}']) {
      assert.throws(
        () => parseRecord(text),
        (error) => {
          assert.ok(isOtaError(error) && error.code === 'STORAGE_CORRUPT');
          assert.equal(error.details.path, 'rotation');
          return true;
        },
      );
    }
  });

  test('chooses the old side until the gateway has decided, and both subjects at once', () => {
    const aside = { ...start('uptane'), at: 'proving-new' } as const;
    const rotation = { ...start('certificate'), newKey: '02', at: 'removing-old' } as const;
    const choice = choiceOf({ ...NOTHING_YET, aside, rotation });
    assert.equal(choice.uptane?.generation, '02');
    assert.equal(choice.tls?.generation, '02');
    assert.deepEqual(choice.certificate, { fingerprint: 'aa', use: 'another' });
    const before = choiceOf({ ...NOTHING_YET, rotation: start('tls') });
    assert.deepEqual(before.certificate, { fingerprint: 'aa', use: 'this' });
  });

  test('follows provisioning that has put another certificate in place of the one in use', async () => {
    const record = new MemoryRecord();
    const put = (rotation: Rotation): Promise<void> =>
      record.put('rotation', formatRecord({ ...NOTHING_YET, rotation }));
    const rotation = async (): Promise<Rotation | undefined> => {
      await noteCertificate(record, 'bb');
      return parseRecord(await record.get('rotation')).rotation;
    };
    await put(start('certificate'));
    assert.equal(await rotation(), undefined);
    await put(start('tls'));
    assert.equal((await rotation())?.oldCertificate, 'bb');
    await put({ ...start('tls'), at: 'removing-old' });
    assert.equal((await rotation())?.oldCertificate, 'aa');
  });
});
