/** `ota-agent verify` on web servers, good and bad. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { verifyCommand } from '../../agent/commands/verify.ts';
import { makeAuthority, makeLeaf } from '../support/certificates.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { ServedWorld } from '../support/served-world.ts';
import { PRIMARY, World } from '../support/uptane-world.ts';
import { VerifyFixture, type VerifyResult } from '../support/verify-fixture.ts';

let fixture: VerifyFixture;
let web: ServedWorld;

beforeEach(async () => {
  fixture = new VerifyFixture();
  fixture.world.release('fw-1.bin');
  web = new ServedWorld(fixture.world);
  await web.open();
});
afterEach(async () => {
  await web.close();
  fixture.remove();
});

async function run(options: readonly string[] = [], server = web): Promise<VerifyResult> {
  const result = await verifyCommand([
    ...['--director', server.url('director'), '--image', `${server.url('image')}/`],
    ...['--ecu', PRIMARY.serial, '--hardware-id', PRIMARY.hardwareId],
    ...['--time', '2026-11-21T00:00:00Z', ...fixture.withState, ...options],
  ]);
  return { ...result, json: { ...result.json } };
}

const facts = ({ exit, json }: VerifyResult): unknown => [exit, json['outcome'], json['code']];
const imageRequests = (): readonly string[] =>
  web.requests.filter((path) => path.startsWith('image/targets/'));
const answer =
  (status: number, headers = {}) =>
  (response: ServerResponse) => {
    response.writeHead(status, headers).end('some words');
  };

describe('what is asked of a server', () => {
  test('is what a device asks, in its order, and no image (F2 to F11)', async () => {
    const { exit, json } = await run();
    assert.deepEqual([exit, json['outcome']], [0, 'update']);
    assert.deepEqual(json['images'], [{ filename: 'fw-1.bin', status: 'not-checked' }]);
    const of = (repo: string, files: string[]): string[] => files.map((file) => `${repo}/${file}`);
    assert.deepEqual(web.requests, [
      ...['director/1.root.json', 'image/1.root.json'],
      ...of('director', ['2.root.json', 'timestamp.json', 'snapshot.json', 'targets.json']),
      ...of('image', ['2.root.json', 'timestamp.json', 'snapshot.json', 'targets.json']),
    ]);
  });

  test('may be half on disk, and images on demand: right, wrong, too long, missing (V7, V8)', async () => {
    fixture.serve();
    const mixed = [
      ...['--director', fixture.at('director'), '--image', web.url('image'), '--images'],
      ...['--ecu', PRIMARY.serial, '--hardware-id', PRIMARY.hardwareId],
    ];
    const outcomes: unknown[] = [];
    for (const content of ['fw-1.bin', 'fw-1.biX', 'fw-1.bin and more', undefined]) {
      if (content === undefined) web.images.clear();
      else web.images.set('fw-1.bin', content);
      const { exit, json } = await verifyCommand(mixed);
      const { outcome, code, file } = json as Record<string, unknown>;
      outcomes.push([exit, outcome, code, file]);
    }
    const image = 'image/targets/fw-1.bin';
    assert.deepEqual(outcomes, [
      [0, 'update', null, null],
      [31, 'refused', 'IMAGE_HASH_MISMATCH', image],
      [31, 'refused', 'IMAGE_TOO_LARGE', image],
      [30, 'failed', 'DOWNLOAD_FAILED', image],
    ]);
  });

  test('goes on over https with the CA that is named, and only then', async () => {
    const authority = makeAuthority(fixture.at(), 'web');
    const names = { commonName: 'web', alternativeNames: 'IP:127.0.0.1' };
    const { certificatePem: cert, keyPem: key } = makeLeaf(fixture.at(), authority, names);
    const secure = new ServedWorld(fixture.world, { cert, key });
    await secure.open();
    try {
      const trusting = await run(['--ca', authority.certificatePath], secure);
      assert.deepEqual([trusting.exit, trusting.json['outcome']], [0, 'update']);
      const wary = await run([], secure);
      assert.deepEqual(facts(wary), [21, 'failed', 'GATEWAY_TLS']);
      assert.match(String(wary.json['remedy']), /--ca FILE/u);
      fixture.write('no-ca.pem', 'none');
      await rejectsCode(run(['--ca', fixture.at('no-ca.pem')], secure), 'FILE_UNREADABLE', {
        path: fixture.at('no-ca.pem'),
        what: 'CA of the server',
        cause: 'it holds no certificate in PEM',
        remedy: 'name a PEM file with --ca',
      });
    } finally {
      await secure.close();
    }
  });
});

describe('what a server does wrong', () => {
  for (const status of [403, 404, 424]) {
    test(`${String(status)} ends the chain of roots, and is a missing file elsewhere (R2)`, async () => {
      web.faults.set('director/2.root.json', answer(status));
      assert.equal((await run()).exit, 0);
      web.faults.set('image/timestamp.json', answer(status));
      fixture.world.release('fw-2.bin');
      const refused = await run();
      assert.deepEqual(facts(refused), [20, 'refused', 'METADATA_MISSING']);
      assert.equal(refused.json['location'], `${web.url('image')}/timestamp.json`);
      assert.deepEqual(imageRequests(), []);
    });
  }

  test('500 is no end of the chain of roots: exit 21, and nothing more is asked for (R2)', async () => {
    web.faults.set('director/2.root.json', answer(500));
    const failed = await run(['--explain']);
    assert.deepEqual(facts(failed), [21, 'failed', 'GATEWAY_ANSWER']);
    assert.equal(failed.json['file'], 'director/2.root.json');
    assert.equal(failed.json['found'], '500 some words');
    assert.equal(web.requests.at(-1), 'director/2.root.json');
    const steps = failed.json['steps'] as { step: string; code?: string }[];
    assert.deepEqual([steps.at(-1)?.step, steps.at(-1)?.code], ['stop', 'GATEWAY_ANSWER']);
  });

  test('a redirect is named and not followed', async () => {
    const location = `${web.url('director')}/elsewhere.json`;
    web.faults.set('director/timestamp.json', answer(302, { location }));
    const failed = await run();
    assert.deepEqual(facts(failed), [21, 'failed', 'GATEWAY_ANSWER']);
    assert.ok(String(failed.json['found']).includes(location));
    assert.ok(!web.requests.includes('director/elsewhere.json'));
  });

  test('a file without end is cut off at its limit (G1, S1, T1)', async () => {
    for (const [path, expected] of [
      ['director/timestamp.json', 'at most 65536 bytes'],
      ['image/2.root.json', 'at most 65536 bytes'],
    ] as const) {
      let sent = 0;
      web.faults.set(path, (response) => {
        const chunk = Buffer.alloc(64 * 1024, 0x20);
        const more = (): void => {
          while (!response.destroyed && response.write(chunk)) sent += chunk.length;
          if (!response.destroyed) response.once('drain', more);
        };
        more();
      });
      const refused = await run();
      assert.deepEqual(facts(refused), [20, 'refused', 'METADATA_TOO_LARGE']);
      assert.deepEqual([refused.json['file'], refused.json['expected']], [path, expected]);
      assert.ok(sent < 64 * 1024 * 1024);
      web.faults.clear();
    }
  });

  test('silence and a trickle are told apart (SLOW)', async () => {
    web.faults.set('director/targets.json', () => undefined);
    const silent = await run(['--timeout', '1']);
    assert.deepEqual(facts(silent), [21, 'failed', 'GATEWAY_TIMEOUT']);
    web.faults.set('director/targets.json', (response) => {
      const timer = setInterval(() => response.write(' '), 100);
      response.once('close', () => {
        clearInterval(timer);
      });
    });
    const slow = await run(['--timeout', '1']);
    assert.deepEqual(facts(slow), [30, 'failed', 'DOWNLOAD_TOO_SLOW']);
    assert.equal(slow.json['attack'], 'slow-retrieval');
    assert.equal(slow.json['file'], 'director/targets.json');
  });

  test('nobody there: exit 21, and what to check', async () => {
    const gone = new ServedWorld(new World());
    await gone.open();
    const [director, image] = [gone.url('director'), gone.url('image')];
    await gone.close();
    const failed = await run(['--director', director, '--image', image]);
    assert.deepEqual(facts(failed), [21, 'failed', 'GATEWAY_UNREACHABLE']);
    assert.match(String(failed.json['remedy']), /^check the URL/u);
  });
});
