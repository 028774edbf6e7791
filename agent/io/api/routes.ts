/** Every route of the local API, once: served by `server.ts`, described by `openapi.ts`. */
import * as z from 'zod';

import { commandAnswer, historyAnswer, statusAnswer } from './answers.ts';

export interface Route {
  readonly method: 'GET' | 'POST';
  /** `{name}` is a part that the caller fills in. */
  readonly path: string;
  readonly summary: string;
  /** JSON object that has to be sent; absent where the body is ignored. */
  readonly body?: z.ZodObject;
  /** Of each part of the path. */
  readonly parts?: Readonly<Record<string, z.ZodType<string>>>;
  readonly answer: z.ZodType | 'text/event-stream' | 'text/plain; version=0.0.4' | 'openapi';
}

/** Handled outside: what each does is in `commands/serve-api.ts`. */
export const JSON_ROUTES = {
  status: {
    method: 'GET',
    path: '/v1/status',
    summary: 'Identity, installed images, cycle state, progress and verdicts',
    answer: statusAnswer,
  },
  history: {
    method: 'GET',
    path: '/v1/history',
    summary: 'Past updates, newest first',
    answer: historyAnswer,
  },
  check: {
    method: 'POST',
    path: '/v1/check',
    summary: 'Fetch and verify only; waits for a cycle that is in progress',
    answer: commandAnswer,
  },
  update: {
    method: 'POST',
    path: '/v1/update',
    summary: 'Run a cycle now; answers at once',
    answer: commandAnswer,
  },
  offline: {
    method: 'POST',
    path: '/v1/update/offline',
    summary: 'Install what is on a medium, without network; answers when it can go no further',
    body: z.object({
      source: z.string().min(1).max(4096).describe('Directory that the medium is mounted at'),
      lockbox: z.string().min(1).max(50).optional().describe('Which update on it'),
    }),
    answer: commandAnswer,
  },
  pause: {
    method: 'POST',
    path: '/v1/pause',
    summary: 'Stop the download that is under way, until it is resumed',
    answer: commandAnswer,
  },
  resume: {
    method: 'POST',
    path: '/v1/resume',
    summary: 'Let a paused download go on',
    answer: commandAnswer,
  },
  abort: {
    method: 'POST',
    path: '/v1/abort',
    summary: 'End an update that is not written yet',
    answer: commandAnswer,
  },
  approve: {
    method: 'POST',
    path: '/v1/approve',
    summary: 'Agree to the installation of the update that waits',
    body: z.object({
      update: z.string().min(1).max(64).describe('`waiting.update` of the status'),
    }),
    answer: commandAnswer,
  },
  confirm: {
    method: 'POST',
    path: '/v1/confirm',
    summary: 'Mark the running image good',
    answer: commandAnswer,
  },
  rollback: {
    method: 'POST',
    path: '/v1/rollback',
    summary: 'Go back to the previous image',
    answer: commandAnswer,
  },
  rotate: {
    method: 'POST',
    path: '/v1/rotate/{what}',
    summary: 'A new key or certificate now, or give up a rotation that waits',
    parts: { what: z.enum(['tls', 'uptane', 'certificate', 'cancel']) },
    answer: commandAnswer,
  },
  secrets: {
    method: 'POST',
    path: '/v1/secrets',
    summary: 'Receive what was encrypted to this device; answers with names alone',
    answer: commandAnswer,
  },
} as const satisfies Readonly<Record<string, Route>>;

/** Answered by the server itself. */
const OWN_ROUTES = {
  events: {
    method: 'GET',
    path: '/v1/events',
    summary: 'Transitions, progress, refusals and ends of cycles as they happen',
    answer: 'text/event-stream',
  },
  metrics: {
    method: 'GET',
    path: '/metrics',
    summary: 'Metrics for Prometheus',
    answer: 'text/plain; version=0.0.4',
  },
  openapi: {
    method: 'GET',
    path: '/openapi.json',
    summary: 'This document',
    answer: 'openapi',
  },
} as const satisfies Readonly<Record<string, Route>>;

export type JsonRoute = keyof typeof JSON_ROUTES;
export type OwnRoute = keyof typeof OWN_ROUTES;

export const ROUTES: readonly (readonly [JsonRoute | OwnRoute, Route])[] = [
  ...(Object.entries(JSON_ROUTES) as [JsonRoute, Route][]),
  ...(Object.entries(OWN_ROUTES) as [OwnRoute, Route][]),
];
