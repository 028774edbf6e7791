import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';

import type { TokenKey } from '../../../agent/io/token/keys.ts';
import { settingsSchema } from '../../../agent/settings.ts';
import type { Instant } from '../../../agent/uptane/time.ts';
import type { GatewayAnswer, Provisioning } from '../../../provisioning/record.ts';
import { isRegistrationBegun, provisionRegistration } from '../../../provisioning/register.ts';
import { rejectsCode } from '../../support/expect-code.ts';
import { MemoryRecord } from './memory-record.ts';

const key: TokenKey = { type: 'ed25519', publicKey: generateKeyPairSync('ed25519').publicKey };
const answer = (status: number, body = ''): GatewayAnswer => ({ status, body: Buffer.from(body) });
const ALREADY = '{"code":"ecu_already_registered"}';

/** A Director with a list of answers; an `Error` is a connection that breaks. */
class Bench {
  readonly record = new MemoryRecord();
  readonly sent: unknown[] = [];
  readonly said: string[] = [];
  readonly #answers: (GatewayAnswer | Error)[];

  constructor(...answers: (GatewayAnswer | Error)[]) {
    this.#answers = answers;
  }

  async register(ecu: { serial?: string; hardware_id?: string } = {}): Promise<string> {
    const all: Provisioning = {
      settings: settingsSchema.parse({ ecu }),
      record: this.record,
      connect: () => assert.fail('connects'),
      now: () => 0 as Instant,
      env: {},
      hostName: 'board',
      userAgent: 'test',
      say: (step, outcome) => this.said.push(`${step} ${outcome}`),
    };
    const registered = await provisionRegistration(all, 'device-1', key, (method, path, body) => {
      this.sent.push([method, path, JSON.parse(Buffer.from(body ?? []).toString())]);
      // Written before it is sent: the answer may never arrive.
      assert.match(this.record.values.get('ecu-registration') ?? '', /^sent [0-9a-f]{64}$/u);
      const next = this.#answers.shift() ?? assert.fail('one request too many');
      return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
    });
    return `${registered.serial} ${registered.hardwareId}`;
  }

  get state(): string | undefined {
    return this.record.values.get('ecu-registration')?.split(' ')[0];
  }
}

describe('ECU registration', () => {
  test('sends what aktualizr sends, once', async () => {
    const bench = new Bench(answer(201));
    assert.equal(await bench.register(), 'device-1 board');
    const { x = '' } = key.publicKey.export({ format: 'jwk' });
    const hex = Buffer.from(x, 'base64url').toString('hex').toUpperCase();
    const ecu = {
      clientKey: { keytype: 'ED25519', keyval: { public: hex } },
      ecu_serial: 'device-1',
      hardware_identifier: 'board',
    };
    const body = { ecus: [ecu], primary_ecu_serial: 'device-1' };
    assert.deepEqual(bench.sent, [['POST', '/director/ecus', body]]);
    await bench.register();
    assert.equal(bench.sent.length, 1);
    assert.deepEqual(bench.said, ['registration done now', 'registration found done']);
  });

  test('derives serial and hardware id once, and keeps them when the host is renamed', async () => {
    const bench = new Bench(answer(201));
    await bench.register();
    assert.deepEqual(bench.record.writes.slice(0, 2), ['ecu-serial=device-1', 'hardware-id=board']);
    bench.record.values.set('hardware-id', 'old-board');
    assert.equal(await new Bench(answer(200)).register(), 'device-1 board');
    const renamed = new Bench(answer(200));
    renamed.record.values.set('hardware-id', 'old-board');
    assert.equal(await renamed.register(), 'device-1 old-board');
  });

  test('registers again when the settings name another ECU', async () => {
    const bench = new Bench(answer(201), answer(200));
    await bench.register();
    assert.equal(await bench.register({ serial: 'other' }), 'other board');
    assert.equal(bench.sent.length, 2);
    assert.equal(bench.state, 'accepted');
  });

  test('takes "already registered" for its own when the answer to the first try was lost', async () => {
    const bench = new Bench(new Error('connection reset'), answer(409, ALREADY));
    await assert.rejects(bench.register(), /connection reset/u);
    assert.equal(bench.state, 'sent');
    assert.equal(await isRegistrationBegun(bench.record), true);
    await bench.register();
    assert.equal(bench.state, 'accepted');
  });

  test('takes "already registered" for somebody else’s on the first try, and ever after', async () => {
    const bench = new Bench(answer(409, ALREADY), answer(409, ALREADY));
    for (let round = 0; round < 2; round += 1) {
      await rejectsCode(bench.register(), 'ENROLMENT_REFUSED', {
        url: '/director/ecus',
        status: 409,
        answer: ALREADY,
        remedy:
          'the Director has other ECUs or keys for this device: allow replacement there, or set ecu.serial',
      });
      assert.equal(bench.state, 'refused');
      assert.equal(await isRegistrationBegun(bench.record), false);
    }
  });

  test('does not take any other conflict for its own', async () => {
    const bench = new Bench(
      new Error('connection reset'),
      answer(409, '{"code":"ecu_replacement_disabled"}'),
    );
    await assert.rejects(bench.register());
    await assert.rejects(bench.register(), { code: 'ENROLMENT_REFUSED' });
    assert.equal(bench.state, 'refused');
  });

  test('does not know what became of it when the server failed', async () => {
    const bench = new Bench(answer(502, 'Bad Gateway'), answer(409, ALREADY));
    const details = { url: '/director/ecus', status: 502, answer: 'Bad Gateway' };
    await rejectsCode(bench.register(), 'GATEWAY_ANSWER', details);
    assert.equal(bench.state, 'sent');
    await bench.register();
    assert.equal(bench.state, 'accepted');
  });

  test('shows no more than the beginning of what a server says', async () => {
    const bench = new Bench(answer(400, `not JSON ${'x'.repeat(10_000)}`));
    await assert.rejects(bench.register(), (error: Error) => error.message.length < 500);
  });
});
