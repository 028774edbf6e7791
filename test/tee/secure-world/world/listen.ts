/**
 * Puts a server on a Unix socket path that may hold what a dead process left behind.
 *
 * The socket is bound under a name of its own and renamed: it exists when it can be connected to, and
 * a path that somebody serves is never taken from them.
 */
import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';

/** `sun_path` of Linux, less the terminating zero. */
const MAX_PATH_BYTES = 107;

/** What stands in the way of listening. */
export class ListenFailure extends Error {
  override readonly name = 'ListenFailure';
}

/**
 * @returns what takes the socket away again
 * @throws ListenFailure with what, where and what to do
 */
export async function listenAt(server: Server, path: string): Promise<() => void> {
  const draft = `${path}.${String(process.pid)}`;
  if (Buffer.byteLength(draft) > MAX_PATH_BYTES) {
    throw new ListenFailure(
      `the socket path ${path} is too long: with a suffix it takes ${String(Buffer.byteLength(draft))} of ${String(MAX_PATH_BYTES)} bytes; choose a shorter one`,
    );
  }
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await requireFree(path);
    rmSync(draft, { force: true });
    await bind(server, draft);
    renameSync(draft, path);
  } catch (cause) {
    if (cause instanceof ListenFailure) throw cause;
    throw new ListenFailure(`cannot listen at ${path}: ${String(cause)}; choose another path`, {
      cause,
    });
  }
  const inode = statSync(path).ino;
  return () => {
    const now = statSync(path, { throwIfNoEntry: false });
    if (now?.ino === inode) rmSync(path);
  };
}

async function requireFree(path: string): Promise<void> {
  const entry = statSync(path, { throwIfNoEntry: false });
  if (entry === undefined) return;
  if (!entry.isSocket()) {
    throw new ListenFailure(`${path} exists and is not a socket; choose another path or remove it`);
  }
  if (await isServed(path)) {
    throw new ListenFailure(`another process listens at ${path}; end it or choose another path`);
  }
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => {
      resolve(false);
    });
  });
}

/** Only the owner may connect: the mask is set for the one call that makes the socket. */
function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const mask = process.umask(0o177);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
    process.umask(mask);
  });
}
