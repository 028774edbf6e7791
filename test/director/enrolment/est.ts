/** Enrolment over Secure Transport (RFC 7030), as much as a device needs for its first certificate. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { Server as HttpsServer } from 'node:https';
import { join } from 'node:path';

import fastify, { type FastifyInstance } from 'fastify';

import { answerError, answerMissing, bodyOf, takeBody } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { inScratch } from '../pki/authority.ts';
import { checkRequest, defaultDates } from '../pki/device-ca.ts';
import { openssl } from '../pki/openssl.ts';
import type { World } from '../world.ts';
import { demandHolder, demandSameSubject } from './reenrol.ts';

const BODY_BYTES = 64 * 1024;
const PKCS7 = 'application/pkcs7-mime; smime-type=certs-only';
const BASE64 = /^[A-Za-z0-9+/\s]+=?\s*=?\s*$/u;

/** HTTPS that asks for no certificate: a device has none yet. simplereenroll looks for one. */
export function createEnrolment(world: World): FastifyInstance<HttpsServer> {
  const app = fastify({
    https: {
      key: readFileSync(world.server.keyPath),
      cert: readFileSync(world.server.certificatePath),
      ca: readFileSync(world.deviceCa.identity.certificatePath),
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
    },
    bodyLimit: BODY_BYTES,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, takeBody);
  app.setNotFoundHandler(answerMissing);
  app.setErrorHandler(answerError);
  app.get('/.well-known/est/cacerts', async (_request, reply) => {
    const roots = [world.deviceCa.identity, world.serverCa].map(({ certificatePath }) =>
      readFileSync(certificatePath, 'utf8'),
    );
    return reply
      .header('content-type', PKCS7)
      .header('content-transfer-encoding', 'base64')
      .send(await pkcs7(roots));
  });
  app.post('/.well-known/est/simpleenroll', async (request, reply) => {
    const giveBack = world.secrets.take(basicCredentials(request.headers.authorization));
    if (giveBack === undefined) {
      const headers = { 'www-authenticate': 'Basic realm="est", charset="UTF-8"' };
      const what = 'HTTP Basic with a valid enrolment secret is needed';
      throw new Refusal(401, 'enrolment_secret', what, { headers });
    }
    try {
      const certificate = await enrol(world, bodyOf(request));
      return await reply
        .header('content-type', PKCS7)
        .header('content-transfer-encoding', 'base64')
        .send(certificate);
    } catch (error) {
      giveBack();
      throw error;
    }
  });
  app.post('/.well-known/est/simplereenroll', async (request, reply) => {
    const holder = demandHolder(world, request.raw.socket);
    const certificate = await enrol(world, bodyOf(request), holder);
    return reply
      .header('content-type', PKCS7)
      .header('content-transfer-encoding', 'base64')
      .send(certificate);
  });
  return app;
}

/** @param holder - whose certificate is replaced; absent for the first one */
async function enrol(world: World, body: Buffer, holder?: string): Promise<string> {
  const text = body.toString('latin1');
  if (!BASE64.test(text))
    throw new Refusal(400, 'csr_malformed', 'the body must be PKCS#10 in Base64');
  const request = await checkRequest(Buffer.from(text, 'base64'));
  if (holder !== undefined) demandSameSubject(request, holder);
  const dates = defaultDates(world.settings.current.certificateDays);
  const { pem } = await world.deviceCa.issue(request, dates);
  return pkcs7([pem]);
}

/** Certificates only, without signature, Base64 in lines. */
async function pkcs7(certificates: readonly string[]): Promise<string> {
  return inScratch(async (cwd) => {
    await writeFile(join(cwd, 'certificates.pem'), certificates.join(''));
    const args = ['crl2pkcs7', '-nocrl', '-certfile', 'certificates.pem', '-outform', 'DER'];
    const der = await openssl(args, { cwd });
    return `${der.toString('base64').replaceAll(/(?<line>.{64})/gu, '$<line>\n')}\n`;
  });
}

/** `user:password` of HTTP Basic, empty when there is none. */
function basicCredentials(header: string | undefined): string {
  const encoded = /^Basic +(?<encoded>[A-Za-z0-9+/]+=*)$/iu.exec(header ?? '')?.groups?.['encoded'];
  return Buffer.from(encoded ?? '', 'base64').toString('utf8');
}
