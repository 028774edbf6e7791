/** The time server over HTTPS, and every way in which it may lie. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { after, before, describe, test } from 'node:test';

import { isOtaError, type FailureCode } from '../../agent/errors.ts';
import { HttpClient } from '../../agent/io/http.ts';
import { HttpDirector, HttpRepositories } from '../../agent/io/repositories.ts';
import { HttpTimeServer, loadTimeKeys } from '../../agent/io/time-server.ts';
import { timeRequest, verifyTime } from '../../agent/uptane/attested-time.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import type { FaultName } from '../director/faults.ts';
import type { Parameters } from '../director/faults/row.ts';
import { canonicalJson } from '../director/json/canonical-json.ts';
import type { SimulatedDevice } from '../director/simulated/device.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { answered, startFixture, type Fixture } from './director-fixture.ts';

const RATE = { bytesPerSecond: 4096, windowMs: 300 };

for (const keyType of ['ed25519', 'rsa-2048'] as const) {
  describe(`a time server with a key of type ${keyType} (§5.4.2.2)`, () => {
    let fixture: Fixture;
    let device: SimulatedDevice;
    let http: HttpClient;
    let server: HttpTimeServer;
    let latestKnown: Instant;

    before(async () => {
      fixture = await startFixture({ keyType });
      device = await fixture.newDevice('device-1');
      const { director } = fixture;
      const secureContext = createSecureContext({
        ca: readFileSync(director.caPath),
        cert: device.certificate,
        key: device.key,
      });
      http = new HttpClient({ secureContext, timeoutMs: 10_000, userAgent: 'ota-agent/test' });
      const authority = await loadTimeKeys(director.timeKeysPath);
      server = new HttpTimeServer(http, director.timeUrl, authority, RATE);
      latestKnown = (Date.now() - 3_600_000) as Instant;
    });
    after(async () => {
      await http.close();
      await fixture.end();
    });

    const ask = async (nonce: string = randomUUID()): Promise<Instant> => {
      const bytes = await server.askTime(timeRequest(nonce));
      return verifyTime(bytes, { nonce, authority: server.authority, latestKnown });
    };
    const during = async (
      fault: FaultName,
      act: () => Promise<void>,
      parameters: Parameters = {},
    ): Promise<void> => {
      await fixture.director.fault(fault, 'on', { parameters });
      try {
        await act();
      } finally {
        await fixture.director.fault(fault, 'off');
      }
    };
    const refused = async (code: FailureCode): Promise<void> => {
      await assert.rejects(ask(), (error) => isOtaError(error) && error.code === code);
    };

    test('is believed, to the second', async () => {
      const earliest = Math.floor(Date.now() / 1000) * 1000;
      const time = await ask();
      assert.ok(earliest <= time && time <= Date.now());
    });

    for (const [fault, code] of [
      ['time-replay', 'TIME_NOT_FRESH'],
      ['time-wrong-nonce', 'TIME_NOT_FRESH'],
      ['time-wrong-key', 'THRESHOLD_NOT_MET'],
      ['time-past', 'TIME_ROLLBACK'],
    ] as const) {
      test(`under ${fault} is ${code}, and believed again after it`, async () => {
        await ask();
        await during(fault, () => refused(code));
        await ask();
      });
    }

    test('may sign the future: what that is worth is for metadata to say', async () => {
      await during(
        'time-future',
        async () => {
          assert.ok((await ask()) > Date.now() + 80_000_000);
        },
        { seconds: 86_400 },
      );
    });

    test('that is out of order is GATEWAY_ANSWER', async () => {
      await during('http-503', () => refused('GATEWAY_ANSWER'), { path: '/director/time' });
    });

    test('signs for nobody who sent no nonce', async () => {
      for (const nonces of [[], [''], ['x'.repeat(129)], 'text']) {
        const answer = await device.call('POST', '/director/time', {
          body: canonicalJson({ nonces }),
        });
        answered(answer, 400, 'json_malformed');
      }
    });

    test('metadata that trickles is slow retrieval, told apart from a gateway that is down (P8)', async () => {
      await device.register();
      const urls = {
        director: `${fixture.director.gatewayUrl}/director`,
        image: `${fixture.director.gatewayUrl}/repo`,
        events: undefined,
      };
      const repositories = new HttpRepositories(http, urls, RATE);
      await during(
        'metadata-slow',
        async () => {
          await rejectsCode(
            repositories.fetchMetadata('director', 'targets.json', 65_536),
            'DOWNLOAD_TOO_SLOW',
            { filename: 'targets.json', minimumBytesPerSecond: 4096, overMs: 300 },
          );
          assert.ok(await repositories.fetchMetadata('image', 'timestamp.json', 65_536));
        },
        { file: 'targets.json' },
      );
      assert.ok(await repositories.fetchMetadata('director', 'targets.json', 65_536));
    });

    test('an accepted manifest brings the Date of the gateway', async () => {
      const urls = { director: `${fixture.director.gatewayUrl}/director`, image: '', events: '' };
      const manifest = Buffer.from(canonicalJson(device.manifest({ counter: 1 })));
      const date = await new HttpDirector(http, urls).putManifest(manifest);
      assert.ok(date !== undefined && Math.abs(date - Date.now()) < 60_000);
    });
  });
}

test('a file that holds no keys of a time server is named, with what to put there', async () => {
  const directory = temporaryDirectory('time-keys');
  try {
    const path = join(directory.path, 'keys.json');
    writeFileSync(path, '{"keys":{},"threshold":1}');
    await rejectsCode(loadTimeKeys(path), 'FILE_UNREADABLE', {
      path,
      what: 'the keys of the time server',
      cause:
        'METADATA_MALFORMED path=time_keys.threshold want="at most 0, the number of different keys that can count"',
      remedy: 'set uptane.time_keys to a JSON file with keys, as in root metadata, and threshold',
    });
  } finally {
    directory.remove();
  }
});
