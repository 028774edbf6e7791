/** The operator's API described as OpenAPI 3.1, from the routes there are. */
import type { FastifyInstance } from 'fastify';

type Schema = Readonly<Record<string, unknown>>;

interface Described {
  readonly summary: string;
  readonly body?: Schema;
  readonly query?: readonly string[];
  readonly status?: 200 | 201 | 204;
}

const TEXT: Schema = { type: 'string' };
const TEXTS: Schema = { type: 'array', items: TEXT };
const PERCENT: Schema = { type: 'integer', minimum: 1, maximum: 100 };

const PHASE = object(
  {
    name: TEXT,
    percentage: { ...PERCENT, description: 'share of all devices of the rollout, cumulative' },
    tags: { ...TEXTS, description: 'only devices with any of these; empty: all' },
    successPercent: { ...PERCENT, default: 90 },
    failurePercent: { ...PERCENT, default: 10 },
    soakSeconds: { type: 'integer', minimum: 0, default: 0 },
  },
  ['percentage'],
);
const ROLLOUT = object(
  {
    name: TEXT,
    image: { ...TEXT, description: 'the name of a published image' },
    filter: object({ hardwareIds: TEXTS, versions: TEXTS, tags: TEXTS }, []),
    phases: { type: 'array', items: PHASE, minItems: 1, maxItems: 20 },
  },
  ['name', 'image', 'phases'],
);
const ANY: Schema = { type: 'object' };
const STEERED = '409 rollout_state when it makes no sense now';

/** Every route; the README says more of each. */
const ROUTES: Readonly<Record<string, Described>> = {
  'GET /openapi.json': { summary: 'this' },
  'GET /status': { summary: 'addresses, settings, versions, counts, active faults' },
  'GET /fleet': { summary: 'devices by hardware, image and state' },
  'POST /images': {
    summary: 'publish a file or an OSTree commit',
    status: 201,
    body: object(
      {
        path: TEXT,
        commit: TEXT,
        name: TEXT,
        hardwareIds: TEXTS,
        version: TEXT,
        role: TEXT,
        encrypt: { type: 'boolean', description: 'for each device alone', default: false },
      },
      ['name', 'hardwareIds', 'version'],
    ),
  },
  'GET /images': { summary: 'published images' },
  'POST /delegations': { summary: 'add a delegated role', status: 201, body: ANY },
  'GET /delegations': { summary: 'delegated roles, in order' },
  'POST /rotations': { summary: 'new keys for a role, and the next root', status: 201, body: ANY },
  'POST /refresh': { summary: 'sign metadata anew', body: ANY },
  'GET /settings': { summary: 'all settings' },
  'PUT /settings': { summary: 'change settings', body: ANY },
  'POST /lockboxes': {
    summary: 'sign an update for media, for hardware and no device in particular',
    status: 201,
    body: object(
      { name: TEXT, images: TEXTS, device: { ...TEXT, description: 'for encrypted images' } },
      ['name', 'images'],
    ),
  },
  'GET /lockboxes': { summary: 'updates for media, with versions' },
  'POST /sticks': {
    summary: 'write a medium below a directory of the server',
    status: 201,
    body: object({ directory: TEXT, lockboxes: TEXTS }, ['directory']),
  },
  'POST /assignments': {
    summary: 'decide what one device shall run',
    status: 201,
    body: object({ device: TEXT, image: TEXT, ecu: TEXT }, ['device', 'image']),
  },
  'GET /devices': { summary: 'every device' },
  'GET /device-ids': { summary: 'ids that begin so, at most 50', query: ['begins'] },
  'GET /devices/{id}': { summary: 'ECUs, installed images, assignment, telemetry' },
  'GET /devices/{id}/manifests': { summary: 'manifests with verdicts, oldest first' },
  'GET /devices/{id}/events': { summary: 'events, oldest first' },
  'GET /devices/{id}/history': { summary: 'what was decided, oldest first' },
  'GET /devices/{id}/story': { summary: 'all of it in sentences, newest first' },
  'DELETE /devices/{id}/assignment': { summary: 'the device need install nothing', status: 204 },
  'PUT /devices/{id}/tags': {
    summary: 'what a device is called, for filters',
    body: object({ tags: TEXTS }, ['tags']),
  },
  'PUT /devices/{id}/secrets/{name}': {
    summary: 'a value for the device alone, in Base64',
    status: 201,
    body: object({ value: TEXT }, ['value']),
  },
  'DELETE /devices/{id}/secrets/{name}': { summary: 'take it back', status: 204 },
  'POST /rollouts': { summary: 'write a rollout down', status: 201, body: ROLLOUT },
  'GET /rollouts': { summary: 'rollouts with counts of each phase, newest first' },
  'GET /rollouts/{id}': { summary: 'one rollout, with counts' },
  'GET /rollouts/{id}/devices': { summary: 'its devices in one state', query: ['state'] },
  'POST /rollouts/{id}/start': { summary: `begin the first phase; ${STEERED}` },
  'POST /rollouts/{id}/pause': { summary: `begin no device; ${STEERED}` },
  'POST /rollouts/{id}/resume': { summary: `go on; ${STEERED}` },
  'POST /rollouts/{id}/advance': { summary: `begin the next phase now; ${STEERED}` },
  'POST /rollouts/{id}/cancel': { summary: `begin no device any more; ${STEERED}` },
  'POST /rollouts/{id}/stop': { summary: `take the image from devices, too; ${STEERED}` },
  'GET /faults': { summary: 'all faults, and which are on' },
  'PUT /faults/{name}': { summary: 'switch one on', query: ['device'], body: ANY },
  'DELETE /faults/{name}': { summary: 'switch one off', query: ['device'] },
  'DELETE /faults': { summary: 'switch all off', query: ['device'] },
  'GET /stats': { summary: 'what each device costs' },
  'DELETE /stats': { summary: 'count from zero', status: 204 },
  'GET /requests': { summary: 'requests of devices, in order', query: ['device'] },
  'POST /certificates': { summary: 'certify a request', status: 201, body: ANY },
  'GET /certificates': { summary: 'all certificates' },
  'DELETE /certificates/{serial}': { summary: 'revoke one at once' },
  'GET /enrolment': { summary: 'how enrolment answers' },
  'PUT /enrolment': { summary: 'change how enrolment answers', body: ANY },
  'GET /enrolment/request': { summary: 'the last request for a certificate' },
  'POST /shared-credentials': { summary: 'what every device of old has', status: 201, body: ANY },
  'POST /enrol-secrets': { summary: 'a secret, good for one certificate', status: 201 },
};

/** Serves `/openapi.json`. Call it before any route is added: one that is not described is an error. */
export function describeRoutes(app: FastifyInstance): void {
  const paths: Record<string, Record<string, object>> = {};
  app.addHook('onRoute', ({ method, url }) => {
    const path = url.replaceAll(/:(\w+)/gu, '{$1}');
    for (const one of [method].flat()) {
      const described = ROUTES[`${one} ${path}`];
      if (described === undefined) throw new Error(`openapi.ts does not describe ${one} ${path}`);
      paths[path] = { ...paths[path], [one.toLowerCase()]: operation(path, described) };
    }
  });
  app.addHook('onReady', (done) => {
    const missing = Object.keys(ROUTES).find((route) => {
      const [method = '', path = ''] = route.split(' ');
      return paths[path]?.[method.toLowerCase()] === undefined;
    });
    done(missing === undefined ? undefined : new Error(`there is no ${missing}`));
  });
  app.get('/openapi.json', () => ({
    openapi: '3.1.0',
    info: { title: 'Staging Director, for operators', version: '1' },
    paths,
  }));
}

function operation(path: string, { summary, body, query = [], status = 200 }: Described): object {
  const names = [...path.matchAll(/\{(\w+)\}/gu)].map(([, name = '']) => name);
  const parameters = [
    ...names.map((name) => ({ name, in: 'path', required: true, schema: TEXT })),
    ...query.map((name) => ({ name, in: 'query', schema: TEXT })),
  ];
  const json = (schema: Schema): object => ({ 'application/json': { schema } });
  const refusal = object({ code: TEXT, description: TEXT, errorId: TEXT }, ['code', 'description']);
  return {
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: json(body) } }),
    responses: {
      [status]: { description: 'done', ...(status === 204 ? {} : { content: json({}) }) },
      default: { description: 'refused', content: json(refusal) },
    },
  };
}

function object(properties: Schema, required: readonly string[]): Schema {
  return { type: 'object', properties, required };
}
