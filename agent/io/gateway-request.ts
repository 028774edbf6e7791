/** Requests whose whole answer is wanted, whatever its status is. */
import { OtaError } from '../errors.ts';
import type { HttpClient, Response } from './http.ts';

/** Enough for root metadata and for any answer; more is an attack or a captive portal. */
const USUAL_ANSWER_BYTES = 64 * 1024;

export type Ask = (
  method: 'GET' | 'POST' | 'PUT',
  path: string,
  body?: Uint8Array,
) => Promise<{ readonly status: number; readonly body: Uint8Array }>;

/**
 * @param bases - what a path starts with, and the URL that stands for it
 * @param maxAnswerBytes - where more than the usual is right
 */
export function gatewayRequest(
  http: HttpClient,
  bases: Readonly<Record<string, string>>,
  maxAnswerBytes = USUAL_ANSWER_BYTES,
): Ask {
  return async (method, path, body) => {
    const [prefix, base] = Object.entries(bases).find(([start]) => path.startsWith(start)) ?? [];
    if (prefix === undefined || base === undefined) throw new Error(`no server for ${path}`);
    const response = await http.send({
      method,
      url: base + path.slice(prefix.length),
      ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
    });
    return { status: response.status, body: await readAnswer(response, path, maxAnswerBytes) };
  };
}

async function readAnswer(
  { body, status }: Response,
  url: string,
  maxBytes: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let received = 0;
  for await (const part of body) {
    received += part.byteLength;
    if (received > maxBytes) {
      const answer = `more than ${String(maxBytes)} bytes`;
      throw new OtaError('GATEWAY_ANSWER', { url, status, answer });
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}
