/** Provisioning as a whole: a blank token, the mock Director with its EST server, and power cuts. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';

import type { DriverResult } from '../support/provision-driver.ts';
import {
  ALL_DONE_NOW,
  ALL_FOUND,
  ONE_OF_EACH,
  ProvisioningBench,
} from '../support/provisioning-bench.ts';
import type { TokenKind } from '../support/token-world.ts';

const [PUBLIC, PRIVATE] = [2, 3];

export function provisionContract(kind: TokenKind): void {
  describe(`provisioning on ${kind.name}`, () => {
    let bench: ProvisioningBench;

    before(async () => {
      bench = await ProvisioningBench.open(kind);
    });
    after(() => bench.close());
    beforeEach(() => bench.renew());

    describe('from blank to known', () => {
      test('makes a device that the Director knows, and finds it done ever after', async () => {
        const first = await bench.provision();
        assert.deepEqual(first.steps, ALL_DONE_NOW);
        assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
        const { deviceId, ecu } = first.provisioned;
        assert.deepEqual(
          (await bench.known(deviceId))?.ecus.map(({ serial }) => serial),
          [ecu.serial],
        );
        assert.equal(ecu.hardwareId, 'gateway-board');
        for (const repo of ['director', 'image'] as const) {
          const pinned = readFileSync(bench.director[`${repo}RootPath`], 'utf8');
          assert.equal(bench.recorded(`${repo}-root`), pinned);
        }
        const second = await bench.provision();
        assert.deepEqual(second, { ...second, provisioned: first.provisioned, steps: ALL_FOUND });
        assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
      });

      test('uses the names that the settings give', async () => {
        const id = `device-${randomUUID()}`;
        const ecu = { serial: `ecu-${id.slice(-12)}`, hardware_id: 'imx8' };
        const { provisioned } = await bench.provision({ device: { id }, ecu });
        assert.equal(provisioned.deviceId, id);
        const device = await bench.known(id);
        assert.deepEqual(
          device?.ecus.map(({ serial, hardwareId }) => [serial, hardwareId]),
          [[ecu.serial, 'imx8']],
        );
      });

      test('works with an RSA key for TLS', async () => {
        const { steps } = await bench.provision({ identity: { tls_key_type: 'rsa-2048' } });
        assert.deepEqual(steps, ALL_DONE_NOW);
      });

      test('works on a token that nobody logs in to', async () => {
        const token = { login: 'none' };
        const { steps } = await bench.provision({ token });
        assert.deepEqual(steps, ALL_DONE_NOW.slice(1));
        assert.deepEqual((await bench.provision({ token })).steps, ALL_FOUND.slice(1));
      });

      test('keeps the device id when only the record was lost', async () => {
        const { provisioned } = await bench.provision();
        const empty = bench.path('empty-record');
        mkdirSync(empty);
        const again = await bench.provision({}, { recordPath: empty });
        assert.deepEqual(again.provisioned, provisioned);
        assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
      });
    });

    describe('power cuts', () => {
      test('ends with one pair per label and one certificate, wherever it was killed', async () => {
        const begun = performance.now();
        await bench.provision();
        let longestMs = (performance.now() - begun) * 0.6;
        const ends = new Set<string>();
        for (let round = 0; round < 3; round += 1) {
          await bench.renew();
          const delays = Array.from({ length: 3 }, () => Math.random() * longestMs);
          const endings: string[] = [];
          for (const delayMs of delays) endings.push(await bench.killAfter(delayMs));
          for (const end of endings) ends.add(end);
          // Later runs may be faster than the first one: aim where they still run.
          if (!endings.includes('killed')) longestMs /= 2;
          const outcome = await bench.attempt();
          assert.equal(outcome.text, undefined, `killed after ${delays.join(', ')} ms`);
          const { provisioned } = outcome.value as DriverResult;
          assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
          assert.deepEqual(await bench.inspect('labels'), ['ota-agent']);
          assert.equal((await bench.known(provisioned.deviceId))?.ecus.length, 1);
          assert.deepEqual((await bench.provision()).steps, ALL_FOUND);
        }
        assert.ok(ends.has('killed'), 'no process was ever killed');
      });

      test('makes half a pair whole again while nobody depends on it', async () => {
        const refusing = { provisioning: { est_secret_file: bench.path('pin') } };
        assert.equal((await bench.attempt(refusing)).code, 'ENROLMENT_REFUSED');
        await bench.inspect('loseObjects', { label: 'ota-agent-tls', kind: PRIVATE });
        await bench.inspect('loseObjects', { label: 'ota-agent-uptane', kind: PUBLIC });
        const { steps } = await bench.provision();
        assert.deepEqual(steps.slice(2, 4), ['keys done now', 'keys done now']);
        assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
      });

      test('does not throw away half a key that the Director knows', async () => {
        await bench.provision();
        await bench.inspect('loseObjects', { label: 'ota-agent-uptane', kind: PUBLIC });
        const { code, details } = await bench.attempt();
        assert.equal(code, 'TOKEN_OBJECT');
        assert.match(String(details['problem']), /^1 private and 0 public keys/u);
        const census = (await bench.inspect('census')) as { keys: { uptane: number[] } };
        assert.deepEqual(census.keys.uptane, [1, 0]);
      });

      test('tidies certificates that are there twice or cut off', async () => {
        await bench.provision();
        assert.equal(await bench.inspect('spoilCertificates'), 3);
        assert.deepEqual((await bench.provision()).steps, ALL_FOUND);
        assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
      });
    });

    describe('trust and registration', () => {
      test('changes nothing when there is no root to begin with', async () => {
        const { code, details } = await bench.attempt({ uptane: { roots: undefined } });
        assert.equal(code, 'CONFIG_INVALID');
        assert.equal(details['key'], 'uptane.roots');
        assert.deepEqual(await bench.inspect('labels'), []);
      });

      test('says loudly when it trusts on first use', async () => {
        const uptane = { roots: undefined, trust_on_first_use: true };
        const { facts } = await bench.provision({ uptane });
        assert.equal(facts.filter((fact) => fact.includes('TRUSTED ON FIRST USE')).length, 2);
        const root = readFileSync(bench.director.directorRootPath, 'utf8');
        assert.equal(bench.recorded('director-root'), root);
      });

      test('says what the Director has against a registration, and keeps the key', async () => {
        const { provisioned } = await bench.provision();
        const { code, details } = await bench.attempt({ ecu: { serial: 'another-ecu' } });
        assert.equal(code, 'ENROLMENT_REFUSED');
        assert.equal(details['status'], 409);
        assert.match(String(details['answer']), /ecu_replacement_disabled/u);
        assert.match(String(details['remedy']), /allow replacement/u);
        assert.deepEqual(
          (await bench.known(provisioned.deviceId))?.ecus.map(({ serial }) => serial),
          [provisioned.ecu.serial],
        );
        assert.deepEqual((await bench.provision()).steps.at(-1), 'registration done now');
      });

      test('exchanges an unknown Uptane key for one of another type, but not a known one', async () => {
        const refusing = { provisioning: { est_secret_file: bench.path('pin') } };
        const ed25519 = { identity: { uptane_key_type: 'ed25519' } };
        await bench.attempt({ ...refusing, ...ed25519 });
        const { steps } = await bench.provision();
        assert.deepEqual(steps.slice(2, 4), ['keys found done', 'keys done now']);
        const { code, details } = await bench.attempt(ed25519);
        assert.equal(code, 'TOKEN_OBJECT');
        assert.equal(details['problem'], 'it is of type rsa-2048, the settings say ed25519');
        assert.deepEqual(await bench.inspect('census'), ONE_OF_EACH);
      });
    });
  });
}
