/** The OpenAPI document, made of the routes when somebody asks for it: the daemon does not keep it. */
import * as z from 'zod';

import { errorAnswer } from './answers.ts';
import { ROUTES, type Route } from './routes.ts';

export function openApiDocument(version: string): object {
  const paths = new Map<string, Record<string, object>>();
  for (const [name, route] of ROUTES) {
    const methods = paths.get(route.path) ?? {};
    methods[route.method.toLowerCase()] = operation(name, route);
    paths.set(route.path, methods);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'ota-agent',
      version,
      description:
        'Local API on a Unix socket, for root, the agent’s user and the group api.group.',
    },
    servers: [{ url: 'http://localhost' }],
    paths: Object.fromEntries(paths),
  };
}

function operation(operationId: string, { summary, parts = {}, body, answer }: Route): object {
  const parameters = Object.entries(parts).map(([name, type]) => {
    return { name, in: 'path', required: true, schema: schemaOf(type) };
  });
  const content = (type: z.ZodType): object => ({
    'application/json': { schema: schemaOf(type) },
  });
  return {
    operationId,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: content(body) } }),
    responses: {
      200: { description: 'Done', content: answerContent(answer, content) },
      default: { description: 'Not done', content: content(errorAnswer) },
    },
  };
}

function answerContent(answer: Route['answer'], content: (type: z.ZodType) => object): object {
  if (answer === 'openapi') return { 'application/json': { schema: { type: 'object' } } };
  return typeof answer === 'string'
    ? { [answer]: { schema: { type: 'string' } } }
    : content(answer);
}

function schemaOf(type: z.ZodType): object {
  const schema = z.toJSONSchema(type);
  delete schema.$schema;
  return schema;
}
