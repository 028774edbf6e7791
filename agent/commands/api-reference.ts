/** `ota-agent openapi`: the local API without a daemon, as its OpenAPI document or as API.md. */
import { OtaError } from '../errors.ts';
import { openApiDocument } from '../io/api/openapi.ts';
import { VERSION } from '../version.ts';
import type { CommandResult } from './result.ts';

/** As far as the routes use it. Source: JSON Schema 2020-12. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly string[];
  readonly description?: string;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

interface Content {
  readonly content: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Operation {
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly schema: Schema }[];
  readonly requestBody?: Content;
  readonly responses: { readonly 200: Content; readonly default: Content };
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const JSON_TYPE = 'application/json';

/**
 * @param rest - `--markdown` for API.md; nothing for the document that the daemon serves
 * @throws OtaError USAGE
 */
export function openapiCommand(rest: readonly string[]): CommandResult {
  const document = openApiDocument(VERSION);
  const [first, ...more] = rest;
  if (more.length > 0 || (first !== undefined && first !== '--markdown')) {
    const what = `openapi does not take ${rest.join(' ')}`;
    throw new OtaError('USAGE', { what, remedy: 'ota-agent openapi [--markdown]' });
  }
  if (first === undefined) {
    return { exit: 0, json: document, lines: [JSON.stringify(document, null, 2)] };
  }
  const lines = reference(document as Document);
  return { exit: 0, json: { lines }, lines };
}

const HEAD = [
  '# The local API',
  '',
  'Made by `ota-agent openapi --markdown` from the routes in `agent/io/api`; a test keeps it so. `ota-agent openapi` prints the OpenAPI document, which the daemon serves at `/openapi.json`.',
  '',
  'HTTP on the Unix socket `api.socket`. Root, the agent’s user and members of `api.group` may ask; who may not cannot open the socket. The commands of `ota-agent` use nothing else.',
  '',
  '```console',
  '$ curl --silent --unix-socket /run/ota-agent/api.sock http://localhost/v1/status',
  '{"version":…}',
  '$ curl --silent --unix-socket /run/ota-agent/api.sock --request POST http://localhost/v1/update',
  '{"outcome":"polling",…}',
  '```',
  '',
  'Events go on until who listens ends it:',
  '',
  '```console terminal=2',
  '$ curl --silent --unix-socket /run/ota-agent/api.sock --no-buffer http://localhost/v1/events',
  ': listening',
  '…',
  '```',
  '',
  'Paths below `/v1` keep their meaning: fields may be added to answers, none is taken away or given another meaning. Read past what you do not know.',
  '',
  '| status | when |',
  '| ------ | ---- |',
  '| 200 | done |',
  '| 400 | the body is not what the route takes |',
  '| 404, 405 | no such path, or not by this method |',
  '| 409 | the agent could not, or would not: `code` says why, `ota-agent explain CODE` what to do |',
  '| 413 | a body of more than 16 KiB |',
  '| 500 | a bug in the agent |',
  '| 503 | sixteen listen to events already |',
];

const EVENTS = [
  '',
  '`event:` is one of these, `data:` a JSON object. A comment comes every 15 s. A listener that is behind by more than 256 KiB is cut off: ask for the status, and listen again.',
  '',
  '| event | data |',
  '| ----- | ---- |',
  '| `transition` | `from` and `to`: states as in `state` of the status; with what they are about |',
  '| `progress` | as `progress` of the status, at most four times a second |',
  '| `refused` | `code` of the failure, and its facts |',
  '| `cycle` | `outcome` of a cycle that ended, or the code that it failed with |',
];

function reference({ paths }: Document): readonly string[] {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      title: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  );
  const [anything] = operations;
  // Commands answer alike: what an answer has is said once.
  const told = new Map<string, string>();
  return [
    ...HEAD,
    ...operations.flatMap(({ title, operation }) => section(title, operation, told)),
    '',
    '## What was not done',
    '',
    ...(anything === undefined ? [] : fieldsOf(anything.operation.responses.default)),
  ];
}

function section(
  title: string,
  operation: Operation,
  told: Map<string, string>,
): readonly string[] {
  const { summary, parameters = [], requestBody, responses } = operation;
  const types = Object.keys(responses[200].content);
  return [
    '',
    `## ${title}`,
    '',
    `${summary}.`,
    ...parameters.flatMap(({ name, schema }) => ['', `\`{${name}}\`: ${typeOf(schema)}.`]),
    ...(requestBody === undefined ? [] : ['', 'The body has', '', ...fieldsOf(requestBody)]),
    ...(types.includes(JSON_TYPE)
      ? answerFields(title, responses[200], told)
      : ['', `As ${types.join(', ')}.`]),
    ...(types.includes('text/event-stream') ? EVENTS : []),
  ];
}

function answerFields(
  title: string,
  answer: Content,
  told: Map<string, string>,
): readonly string[] {
  const fields = fieldsOf(answer);
  if (fields.length === 0) return [];
  const text = fields.join('\n');
  const before = told.get(text);
  if (before !== undefined) return ['', `Answers as \`${before}\`.`];
  told.set(text, title);
  return ['', ...fields];
}

function fieldsOf({ content }: Content): readonly string[] {
  const rows = rowsOf(content[JSON_TYPE]?.schema ?? {}, '');
  return rows.length === 0 ? [] : ['| field | is | |', '| ----- | -- | - |', ...rows];
}

/** One for each field, those of objects within named after them: `waiting.reasons[].by`. */
function rowsOf({ properties = {}, required = [] }: Schema, within: string): readonly string[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const at = `${within}${name}`;
    const absent = required.includes(name) ? '' : ' or absent';
    const about = schema.description ?? '';
    const { inner, suffix } = innerOf(schema);
    return [
      `| \`${at}\` | ${typeOf(schema)}${absent} | ${about} |`,
      ...rowsOf(inner, `${at}${suffix}.`),
    ];
  });
}

function innerOf(schema: Schema): { readonly inner: Schema; readonly suffix: string } {
  if (schema.items !== undefined) return { inner: schema.items, suffix: '[]' };
  const object = schema.anyOf?.find(({ properties }) => properties !== undefined);
  return { inner: object ?? schema, suffix: '' };
}

function typeOf(schema: Schema): string {
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(', ');
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' or ');
  if (schema.items !== undefined) return `array of ${typeOf(schema.items)}`;
  return [schema.type ?? 'anything'].flat().join(' or ');
}
