/** A Unix socket in front of another one that keeps a copy of everything that passes. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface WireTap {
  readonly socket: string;
  /** Everything that passed so far, in both directions. */
  recorded(): Buffer;
  close(): void;
}

export async function tapSocket(socket: string, target: string): Promise<WireTap> {
  const passed: Buffer[] = [];
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.on('data', (bytes: Buffer) => passed.push(Buffer.from(bytes)));
      from.on('error', () => to.destroy());
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  server.listen(socket);
  await once(server, 'listening');
  return {
    socket,
    recorded: () => Buffer.concat(passed),
    close: () => {
      server.close();
      for (const connection of open) connection.destroy();
    },
  };
}
