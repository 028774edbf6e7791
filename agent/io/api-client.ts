/** Asks a running daemon over its socket; what is asked of is in `api.ts`, which no command loads. */
import { request as httpRequest } from 'node:http';

/**
 * Asks a running daemon.
 *
 * @returns its answer, or `undefined` when none listens on the socket
 */
export function askDaemon(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
): Promise<Record<string, unknown> | undefined> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, method, path }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('error', reject);
      response.on('end', () => {
        resolve(JSON.parse(text) as Record<string, unknown>);
      });
    });
    request.on('error', (error) => {
      const code = 'code' in error ? error.code : undefined;
      if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'EACCES') resolve(undefined);
      else reject(error);
    });
    request.end();
  });
}
