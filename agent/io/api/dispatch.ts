/** Finds what a question of the local API asks for, and has it answered. */
import { Refusal, SEE, answerOf, refusalOf, type ApiAnswer, type ApiQuestion } from './answer.ts';
import { JSON_ROUTES, ROUTES, type JsonRoute, type OwnRoute, type Route } from './routes.ts';

/** What a caller sent, as the route's schemas read it. */
interface ApiRequest {
  readonly parts: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Each answers with one JSON document. */
export type ApiHandlers = Readonly<Record<JsonRoute, (request: ApiRequest) => Promise<object>>>;

/**
 * Answers every question but those that the socket's server answers by itself.
 *
 * @param document - makes the one at `/openapi.json`
 */
export function dispatcher(
  handlers: ApiHandlers,
  document: () => Promise<object>,
): (question: ApiQuestion) => Promise<ApiAnswer> {
  return async (question) => {
    try {
      const { name, route, parts } = routeOf(question);
      if (!isJsonRoute(name)) return answerOf(200, await document());
      const found = await handlers[name]({ parts, body: readBody(question, route) });
      return answerOf('code' in found ? 409 : 200, found);
    } catch (error) {
      return refusalOf(error);
    }
  };
}

function isJsonRoute(name: JsonRoute | OwnRoute): name is JsonRoute {
  return Object.hasOwn(JSON_ROUTES, name);
}

interface Found {
  readonly name: JsonRoute | OwnRoute;
  readonly route: Route;
  readonly parts: Readonly<Record<string, string>>;
}

function routeOf({ method, url }: ApiQuestion): Found {
  const [path = ''] = url.split('?');
  const here = ROUTES.flatMap(([name, route]) => {
    const parts = partsOf(route.path, path);
    return parts === undefined ? [] : [{ name, route, parts }];
  });
  if (here.length === 0) throw new Refusal(404, 'no such path', SEE);
  const found = here.find(({ route }) => route.method === method);
  if (found === undefined) throw new Refusal(405, `${method} is not for this path`, SEE);
  for (const [name, schema] of Object.entries(found.route.parts ?? {})) {
    if (!schema.safeParse(found.parts[name]).success) {
      throw new Refusal(404, `no such ${name} in the path`, SEE);
    }
  }
  return found;
}

/** What stands in the place of each `{name}`; `undefined` if the path is another. */
function partsOf(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== given.length) return undefined;
  const parts: [string, string][] = [];
  for (const [index, want] of wanted.entries()) {
    const have = given[index] ?? '';
    if (want.startsWith('{')) parts.push([want.slice(1, -1), have]);
    else if (want !== have) return undefined;
  }
  return Object.fromEntries(parts);
}

function readBody(
  { body }: ApiQuestion,
  { body: schema }: Route,
): Readonly<Record<string, unknown>> {
  if (schema === undefined) return {};
  const read = schema.safeParse(parsed(body));
  if (read.success) return read.data;
  const [first] = read.error.issues;
  const where = first?.path.join('.') ?? '';
  const what = `${where === '' ? 'the body' : `${where} in the body`}: ${first?.message ?? ''}`;
  throw new Refusal(400, what, SEE);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, 'the body is no JSON', SEE);
  }
}
