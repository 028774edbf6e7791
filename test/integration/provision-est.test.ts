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
import { enrol } from '../../provisioning/est.ts';
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

  const ask = async (
    reply: typeof answer,
    changes: { caPem?: string; timeoutMs?: number; secret?: string | undefined } = {},
  ): Promise<Uint8Array[]> => {
    answer = reply;
    seen = [];
    const url = `https://localhost:${String((server.address() as AddressInfo).port)}/`;
    const caPem = authority.certificatePem;
    const common = { url, caPem, secret: SECRET, timeoutMs: 5000, userAgent: 'ota-agent/test' };
    return enrol({ ...common, proxyFor: () => undefined, ...changes }, REQUEST);
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

  test('waits for nobody who has to approve first (202)', async () => {
    const refused = await refusal((response) => {
      response.writeHead(202, { 'retry-after': '3600' }).end('pending');
    });
    assert.equal(refused['code'], 'ENROLMENT_REFUSED');
    assert.deepEqual([refused['status'], refused['answer']], [202, 'pending']);
    assert.match(String(refused['remedy']), /again later/u);
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
});
