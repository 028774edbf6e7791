/** Device certificates and enrolment secrets. */
import type { FastifyInstance } from 'fastify';

import { bodyOf } from '../answers.ts';
import { Refusal } from '../failure.ts';
import { checkRequest, defaultDates, type CertificateDates } from '../pki/device-ca.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import type { ControlParts } from './parts.ts';

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
