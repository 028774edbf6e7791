/** Device certificates and enrolment secrets. */
import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { checkRequest, defaultDates, type CertificateDates } from '../pki/device-ca.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import { pack, SHARED_NAME } from '../enrolment/shared.ts';
import type { ControlParts } from './parts.ts';

const SHARED_DAYS = 365;

interface CertificateRoute {
  readonly Params: { readonly serial: string };
}

export function addCertificateRoutes(
  app: FastifyInstance,
  { world, reloadRevocations }: Pick<ControlParts, 'world' | 'reloadRevocations'>,
): void {
  app.post('/certificates', async (request, reply) => {
    const wanted = new JsonReader(parseJson(bodyOf(request)));
    const checked = await checkRequest(Buffer.from(wanted.string('csr', 16_384)));
    const dates = readDates(wanted, world.settings.current.certificateDays);
    return reply.code(201).send(await world.deviceCa.issue(checked, dates));
  });
  app.get('/certificates', () => world.deviceCa.certificates);
  app.delete<CertificateRoute>('/certificates/:serial', async (request) => {
    const revoked = world.deviceCa.revoke(request.params.serial);
    await reloadRevocations();
    return revoked;
  });
  app.get('/enrolment', () => world.enrolment.current);
  app.get('/enrolment/request', () => ({ pem: world.enrolment.lastRequest }));
  app.put('/enrolment', async (request) => {
    const changed = world.enrolment.change(new JsonReader(parseJson(bodyOf(request))));
    await world.deviceCa.issueBelow(changed.issuingCa);
    await reloadRevocations();
    return changed;
  });
  app.post('/shared-credentials', async (request, reply) => {
    const password = new JsonReader(parseJson(bodyOf(request))).optionalString('password') ?? '';
    const p12 = await pack(world, SHARED_NAME, { days: SHARED_DAYS, password });
    return reply.code(201).send({ p12: p12.toString('base64') });
  });
  app.post('/enrol-secrets', (_request, reply) =>
    reply.code(201).send({ secret: world.secrets.createOneTime() }),
  );
}

function readDates(wanted: JsonReader, days: number): CertificateDates {
  const usual = defaultDates(days);
  const notBefore = readDate(wanted, 'notBefore') ?? usual.notBefore;
  const notAfter = readDate(wanted, 'notAfter') ?? usual.notAfter;
  if (notBefore < notAfter) return { notBefore, notAfter };
  throw new Refusal(400, 'json_malformed', '$.notBefore must be before $.notAfter');
}

function readDate(wanted: JsonReader, name: string): Date | undefined {
  const text = wanted.optionalString(name);
  if (text === undefined) return undefined;
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date;
  throw new Refusal(400, 'json_malformed', `$.${name} must be an ISO 8601 instant`);
}
