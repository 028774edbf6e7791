/** The openssl command line: every certificate here is made by it. */
import { execFile } from 'node:child_process';

import { DirectorFailure } from '../failure.ts';

export interface OpensslResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const TIMEOUT_MS = 60_000;

/** Runs openssl and gives back whatever came of it. */
export async function tryOpenssl(
  args: readonly string[],
  options: { readonly cwd?: string; readonly input?: Uint8Array } = {},
): Promise<OpensslResult> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      'openssl',
      args,
      { cwd: options.cwd, timeout: TIMEOUT_MS, encoding: 'buffer', maxBuffer: 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') {
          reject(notRunnable(error));
          return;
        }
        const exitCode = typeof error?.code === 'number' ? error.code : 0;
        resolve({ exitCode, stdout, stderr: stderr.toString() });
      },
    );
    // openssl may end before it has read everything; its exit code says why.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input);
  });
}

/**
 * Runs openssl for something that cannot fail on a working machine.
 *
 * @returns its standard output
 * @throws DirectorFailure with what openssl said
 */
export async function openssl(
  args: readonly string[],
  options: { readonly cwd?: string; readonly input?: Uint8Array } = {},
): Promise<Buffer> {
  const { exitCode, stdout, stderr } = await tryOpenssl(args, options);
  if (exitCode === 0) return stdout;
  throw new DirectorFailure(`openssl ${args[0] ?? ''} failed: ${stderr.trim()}`, {
    where: options.cwd ?? '.',
    remedy: 'check free space and permissions there; openssl 3.0 or later is needed',
  });
}

function notRunnable(cause: Error): DirectorFailure {
  return new DirectorFailure(
    `cannot run openssl: ${cause.message}`,
    { where: 'PATH', remedy: 'install openssl 3.0 or later' },
    { cause },
  );
}
