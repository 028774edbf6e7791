/** Enrolment over Secure Transport (RFC 7030), as much as a device needs for its first certificate. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { Server as HttpsServer } from 'node:https';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';

import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';

import { answerError, answerMissing, bodyOf, takeBody } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { inScratch } from '../pki/authority.ts';
import { checkRequest, defaultDates, type CheckedRequest } from '../pki/device-ca.ts';
import { openssl } from '../pki/openssl.ts';
import type { World } from '../world.ts';
import { demandHolder, demandSameSubject } from './reenrol.ts';

const BODY_BYTES = 64 * 1024;
const PKCS7 = 'application/pkcs7-mime; smime-type=certs-only';
const BASE64 = /^[A-Za-z0-9+/\s]+=?\s*=?\s*$/u;

/** HTTPS that works without a client certificate: a device may have none yet. simplereenroll needs one. */
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
    const { otherCacerts } = world.enrolment.current;
    const named = otherCacerts ? [] : [world.deviceCa.identity];
    const roots = [...named, world.serverCa].map(({ certificatePath }) =>
      readFileSync(certificatePath, 'utf8'),
    );
    return reply.headers(headersOf(PKCS7)).send(await pkcs7(roots));
  });
  app.get('/.well-known/est/csrattrs', (_request, reply) => {
    const { csrAttributes } = world.enrolment.current;
    if (csrAttributes === 'none') return reply.code(204).send();
    return reply.headers(headersOf('application/csrattrs')).send(csrAttributes);
  });
  const approvals = new Approvals();
  app.post('/.well-known/est/simpleenroll', async (request, reply) => {
    const giveBack = admit(world, request);
    try {
      const checked = await readRequest(bodyOf(request));
      world.enrolment.lastRequest = checked.pem;
      if (approvals.mustWait(checked.deviceId, world.enrolment.current.approvals)) {
        giveBack();
        return await reply.code(202).header('retry-after', '1').send('waits for approval');
      }
      return await reply.headers(headersOf(PKCS7)).send(await certify(world, checked));
    } catch (error) {
      giveBack();
      throw error;
    }
  });
  app.post('/.well-known/est/simplereenroll', async (request, reply) => {
    const holder = demandHolder(world, request.raw.socket);
    const checked = await readRequest(bodyOf(request));
    demandSameSubject(checked, holder);
    return reply.headers(headersOf(PKCS7)).send(await certify(world, checked));
  });
  return app;
}

function headersOf(contentType: string): Readonly<Record<string, string>> {
  return { 'content-type': contentType, 'content-transfer-encoding': 'base64' };
}

/**
 * Lets in who has a secret, or a certificate of the device CA: that of another key, or of birth.
 *
 * @returns what gives the secret back when nothing was issued
 */
function admit(world: World, request: FastifyRequest): () => void {
  const { socket } = request.raw;
  const isCertified = socket instanceof TLSSocket && socket.authorized;
  const giveBack = world.secrets.take(basicCredentials(request.headers.authorization));
  if (giveBack !== undefined) return giveBack;
  if (isCertified) return () => undefined;
  const headers = { 'www-authenticate': 'Basic realm="est", charset="UTF-8"' };
  const what = 'HTTP Basic with a valid enrolment secret is needed';
  throw new Refusal(401, 'enrolment_secret', what, { headers });
}

/** Somebody looks at each request first, and takes his time. */
class Approvals {
  readonly #asked = new Map<string, number>();

  mustWait(deviceId: string, times: number): boolean {
    const asked = this.#asked.get(deviceId) ?? 0;
    this.#asked.set(deviceId, asked + 1);
    return asked < times;
  }
}

async function readRequest(body: Buffer): Promise<CheckedRequest> {
  const text = body.toString('latin1');
  if (!BASE64.test(text))
    throw new Refusal(400, 'csr_malformed', 'the body must be PKCS#10 in Base64');
  return checkRequest(Buffer.from(text, 'base64'));
}

async function certify(world: World, request: CheckedRequest): Promise<string> {
  const dates = defaultDates(world.settings.current.certificateDays);
  const { pem } = await world.deviceCa.issue(request, dates);
  return pkcs7([...world.deviceCa.between(), pem]);
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
