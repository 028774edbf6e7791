/** EST as a client: every answer that is not a certificate (RFC 7030 §4.2.3). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import { EstConnection, operationUrl } from '../../provisioning/est.ts';
import { caCertificates, csrAttributes, enrol } from '../../provisioning/est-enrol.ts';
import { makeAuthority, makeLeaf, type Authority } from '../support/certificates.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const REQUEST = { der: Buffer.alloc(300, 7), pem: '' };
const SECRET = 'device:s3cret-s3cret';

interface Seen {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

describe('enrolment over EST', () => {
  const temporary = temporaryDirectory('est');
  let authority: Authority;
  let server: Server;
  let seen: Seen[] = [];
  let answer: (response: ServerResponse) => void;

  before(async () => {
    authority = makeAuthority(temporary.path, 'est');
    const alternativeNames = 'DNS:localhost';
    const leaf = makeLeaf(temporary.path, authority, { commonName: 'localhost', alternativeNames });
    server = createServer({ key: leaf.keyPem, cert: leaf.certificatePem }, (request, response) => {
      let body = '';
      request.setEncoding('latin1').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        seen.push({ url: request.url, headers: request.headers, body });
        answer(response);
      });
    });
    await once(server.listen(0, 'localhost'), 'listening');
  });
  after(() => {
    server.closeAllConnections();
    server.close();
    temporary.remove();
  });

  interface Changes {
    readonly caPem?: string;
    readonly timeoutMs?: number;
    readonly secret?: string | undefined;
    readonly waitMs?: number;
  }
  const connected = async <T>(
    reply: typeof answer,
    act: (est: EstConnection) => Promise<T>,
    changes: Changes = {},
  ): Promise<T> => {
    answer = reply;
    seen = [];
    const url = `https://localhost:${String((server.address() as AddressInfo).port)}/`;
    const caPem = authority.certificatePem;
    const common = { url, caPem, secret: SECRET, timeoutMs: 5000, userAgent: 'ota-agent/test' };
    const est = new EstConnection({ ...common, proxyFor: () => undefined, ...changes });
    try {
      return await act(est);
    } finally {
      await est.close();
    }
  };
  const waits: number[] = [];
  const ask = (reply: typeof answer, changes: Changes = {}): Promise<Uint8Array[]> => {
    waits.length = 0;
    const waiting = { maxMs: changes.waitMs ?? 0, onWait: (ms: number) => waits.push(ms) };
    return connected(reply, (est) => enrol(est, REQUEST, waiting), changes);
  };
  const refusal = async (...args: Parameters<typeof ask>): Promise<Record<string, unknown>> => {
    try {
      await ask(...args);
    } catch (error) {
      assert.ok(isOtaError(error), String(error));
      assert.ok(!JSON.stringify([error.message, error.details]).includes('s3cret'));
      return { code: error.code, ...error.details };
    }
    return assert.fail('enrolled');
  };
  const certsOnly = (): string => {
    const args = ['crl2pkcs7', '-nocrl', '-certfile', authority.certificatePath, '-outform', 'DER'];
    return execFileSync('openssl', args).toString('base64');
  };

  test('sends PKCS#10 in Base64 lines with HTTP Basic, and reads certificates (§4.2.1)', async () => {
    const [certificate = Buffer.alloc(0), ...others] = await ask((response) => {
      response.end(certsOnly().replace(/.{64}/gu, '$&\r\n'));
    });
    assert.equal(others.length, 0);
    assert.equal(new X509Certificate(certificate).subject, 'CN=est CA');
    const [sent] = seen;
    assert.equal(sent?.url, '/.well-known/est/simpleenroll');
    assert.deepEqual(Buffer.from(sent.body, 'base64'), REQUEST.der);
    assert.ok(sent.body.split('\n').every((line) => line.length <= 64));
    assert.equal(sent.headers['content-type'], 'application/pkcs10');
    const basic = Buffer.from(SECRET).toString('base64');
    assert.equal(sent.headers.authorization, `Basic ${basic}`);
  });

  test('sends no credentials when there are none', async () => {
    await ask((response) => response.end(certsOnly()), { secret: undefined });
    assert.equal(seen[0]?.headers.authorization, undefined);
  });

  test('does not wait longer than it is let for somebody to approve (§4.2.3)', async () => {
    const refused = await refusal((response) => {
      response.writeHead(202, { 'retry-after': '3600' }).end('pending');
    });
    assert.equal(refused['code'], 'ENROLMENT_REFUSED');
    assert.deepEqual([refused['status'], refused['answer']], [202, 'pending']);
    assert.match(String(refused['remedy']), /again in 3600 s/u);
    assert.equal(seen.length, 1);
  });

  test('comes back when it is told to, with the same request (§4.2.3)', async () => {
    const answers = [
      { 'retry-after': '1' },
      { 'retry-after': new Date(Date.now() + 2500).toUTCString() },
      { 'retry-after': '0' },
    ];
    const certificates = await ask(
      (response) => {
        const headers = answers.shift();
        if (headers === undefined) response.end(certsOnly());
        else response.writeHead(202, headers).end();
      },
      { waitMs: 30_000 },
    );
    assert.equal(certificates.length, 1);
    assert.equal(seen.length, 4);
    assert.equal(new Set(seen.map(({ body }) => body)).size, 1);
    assert.deepEqual([waits[0], waits[2]], [1000, 1000]);
    assert.ok((waits[1] ?? 0) <= 2500);
  });

  test('asks again in ten seconds where the server does not say when', async () => {
    const refused = await refusal((response) => response.writeHead(202).end());
    assert.match(String(refused['remedy']), /again in 10 s/u);
    const senseless = await refusal((response) => {
      response.writeHead(202, { 'retry-after': 'soon' }).end();
    });
    assert.match(String(senseless['remedy']), /again in 10 s/u);
  });

  test('reports what the server said, and where to put the secret', async () => {
    const refused = await refusal((response) => response.writeHead(401).end('wrong secret\n'));
    assert.deepEqual([refused['status'], refused['answer']], [401, 'wrong secret']);
    assert.match(String(refused['remedy']), /est_secret_file/u);
  });

  test('does not follow a redirection with the secret', async () => {
    const refused = await refusal((response) => {
      response.writeHead(302, { location: 'https://localhost:1/' }).end();
    });
    assert.equal(refused['status'], 302);
    assert.equal(seen.length, 1);
  });

  test('refuses answers that are not PKCS#7, or hold no certificate', async () => {
    const empty = 'MCMGCSqGSIb3DQEHAqAWMBQCAQExADALBgkqhkiG9w0BBwGhADEA';
    for (const body of ['', 'hello', '<html></html>', certsOnly().slice(0, 200), empty]) {
      const refused = await refusal((response) => response.end(body));
      assert.equal(refused['code'], 'ENROLMENT_REFUSED', body);
      assert.match(String(refused['answer']), /PKCS#7/u);
    }
  });

  test('stops reading an answer without end', async () => {
    const refused = await refusal((response) => {
      const more = (): void => {
        if (!response.destroyed) response.write('A'.repeat(4096), more);
      };
      more();
    });
    assert.equal(refused['answer'], 'an answer without end');
  });

  test('gives up on a server that says nothing', async () => {
    const refused = await refusal(() => undefined, { timeoutMs: 300 });
    assert.equal(refused['code'], 'GATEWAY_TIMEOUT');
  });

  test('sends nothing to a server of another CA', async () => {
    const { certificatePem } = makeAuthority(join(temporary.path), 'other');
    const refused = await refusal((response) => response.end(), { caPem: certificatePem });
    assert.equal(refused['code'], 'GATEWAY_TLS');
    assert.match(String(refused['remedy']), /est_ca/u);
    assert.equal(seen.length, 0);
  });

  test('asks for the CAs over a connection that is trusted already (§4.1.2)', async () => {
    const certificates = await connected((response) => response.end(certsOnly()), caCertificates);
    assert.deepEqual(
      certificates.map(({ subject }) => subject),
      ['CN=est CA'],
    );
    assert.deepEqual(
      seen.map(({ url, headers }) => [url, headers.authorization]),
      [['/.well-known/est/cacerts', undefined]],
    );
  });

  test('takes 204, 404 and 501 for a server that names no CAs and wants nothing', async () => {
    for (const status of [204, 404, 501]) {
      const none = (response: ServerResponse): void => {
        response.writeHead(status).end();
      };
      assert.deepEqual(await connected(none, caCertificates), []);
      assert.equal((await connected(none, csrAttributes)).length, 0);
    }
  });

  test('refuses other answers to these questions', async () => {
    for (const operation of [caCertificates, csrAttributes]) {
      const broken = (response: ServerResponse): void => {
        response.writeHead(500).end('out of order');
      };
      await assert.rejects(connected<unknown>(broken, operation), (error) => {
        assert.ok(isOtaError(error) && error.code === 'ENROLMENT_REFUSED');
        assert.deepEqual([error.details.status, error.details.answer], [500, 'out of order']);
        return true;
      });
    }
  });

  test('reads CSR attributes from Base64 with and without lines (RFC 8951 §3)', async () => {
    const der = Buffer.alloc(100, 3);
    const text = der.toString('base64');
    for (const sent of [text, text.replace(/.{64}/gu, '$&\r\n'), `${text}\n`]) {
      const read = await connected((response) => response.end(sent), csrAttributes);
      assert.deepEqual(Buffer.from(read), der);
    }
  });

  test('puts operations under the label of a CA, where est_url names one (§3.2.2)', () => {
    assert.equal(operationUrl('https://a/', 'x'), 'https://a/.well-known/est/x');
    assert.equal(
      operationUrl('https://a/.well-known/est/iot/', 'x'),
      'https://a/.well-known/est/iot/x',
    );
  });
});
