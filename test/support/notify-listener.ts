/** A datagram socket that answers as systemd's does. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';

import { temporaryDirectory } from './temporary.ts';

/** Prints each message as a JSON line. Closing the descriptor that comes with BARRIER=1 is the answer. */
const LISTENER = `
import array, json, os, socket, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\\0" + name[1:] if name.startswith("@") else name)
print(json.dumps("listening"), flush=True)
while True:
    data, ancillary, _, _ = s.recvmsg(65536, 1024)
    for level, kind, fds in ancillary:
        if kind == socket.SCM_RIGHTS:
            for fd in array.array("i", fds[:len(fds) // 4 * 4]):
                os.close(fd)
    if data != b"BARRIER=1":
        print(json.dumps(data.decode()), flush=True)
`;

export interface Listener {
  /** NOTIFY_SOCKET */
  readonly address: string;
  /** @returns the next message; waits for it */
  next(): Promise<string>;
}

/** Listens until the test ends. */
export async function listenToNotifications(
  t: Pick<TestContext, 'after'>,
  address?: string,
): Promise<Listener> {
  const directory = temporaryDirectory('notify');
  const at = address ?? join(directory.path, 'notify');
  const python = spawn('python3', ['-c', LISTENER, at], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(async () => {
    const exited = once(python, 'exit');
    python.kill();
    await exited;
    directory.remove();
  });
  const lines = createInterface(python.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value } = await lines.next();
    return JSON.parse(String(value)) as string;
  };
  assert.equal(await next(), 'listening');
  return { address: at, next };
}
