/** Calls the control API of a running Director. */
import { request } from 'node:http';

/** The control API said no, or nobody answered (`status` 0). */
export class ControlFailure extends Error {
  override readonly name = 'ControlFailure';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, description: string, options?: ErrorOptions) {
    super(description, options);
    this.status = status;
    this.code = code;
  }
}

/**
 * @param socketPath - `control.sock`
 * @returns the decoded answer; `undefined` when it is empty
 * @throws ControlFailure for every answer that is not success
 */
export async function callControl(
  socketPath: string,
  method: string,
  path: string,
  body?: object,
): Promise<unknown> {
  const { status, text } = await exchange(socketPath, method, path, body);
  const answer = text === '' ? undefined : (JSON.parse(text) as unknown);
  if (status < 300) return answer;
  const { code = 'unknown', description = text } = (answer ?? {}) as Partial<
    Record<string, string>
  >;
  throw new ControlFailure(status, code, description);
}

async function exchange(
  socketPath: string,
  method: string,
  path: string,
  body: object | undefined,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', connection: 'close' };
    const call = request({ socketPath, method, path, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
      });
    });
    call.on('error', (cause) => {
      reject(new ControlFailure(0, 'no_director', cause.message, { cause }));
    });
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
