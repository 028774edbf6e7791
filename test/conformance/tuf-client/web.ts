/** The little HTTP that a TUF client needs. A test's tool: the agent has `io/http.ts`. */
import { OtaError } from '../../../agent/errors.ts';
import { demandRate, limitBytes } from '../../../agent/io/limit-bytes.ts';
import type { Answer, Need } from '../../../agent/uptane/verify.ts';

/** Statuses that end the chain of roots (TUF specification §5.3.3); all others are failures. */
const ABSENT: ReadonlySet<number> = new Set([403, 404]);
const RATE = { bytesPerSecond: 1024, windowMs: 10_000 };
const HEADERS_TIMEOUT_MS = 10_000;

/** @returns `undefined` if the repository has no such file */
export async function fetchMetadata(
  base: string,
  { repo, file, maxBytes }: Extract<Need, { need: 'fetch' }>,
): Promise<Answer> {
  const body = await get(`${withoutSlash(base)}/${file}`);
  if (body === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  let received = 0;
  for await (const chunk of demandRate(body, RATE, file)) {
    received += chunk.byteLength;
    if (received > maxBytes) throw new OtaError('METADATA_TOO_LARGE', { repo, file, maxBytes });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The bytes of a target, at most `lengthBytes`. @throws if the repository has no such file */
export async function* fetchTarget(
  base: string,
  path: string,
  lengthBytes: number,
): AsyncGenerator<Uint8Array> {
  const url = `${withoutSlash(base)}/${path}`;
  const body = await get(url);
  if (body === undefined) throw new Error(`${url} is not there`);
  yield* limitBytes(demandRate(body, RATE, path), lengthBytes, path);
}

async function get(url: string): Promise<AsyncIterable<Uint8Array> | undefined> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort();
  }, HEADERS_TIMEOUT_MS);
  try {
    const response = await fetch(url, { signal: late.signal });
    if (response.status === 200) return response.body ?? empty();
    await response.body?.cancel();
    if (ABSENT.has(response.status)) return undefined;
    throw new Error(`${url} answered ${String(response.status)}`);
  } finally {
    clearTimeout(timer);
  }
}

async function* empty(): AsyncGenerator<Uint8Array> {
  // A body of no bytes.
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/u, '');
}
