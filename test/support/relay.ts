/** A TCP connection in the middle: counts what passes, and can cut it. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Passed {
  readonly connections: number;
  /** Payload of TCP, from the client. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export interface Relay {
  readonly port: number;
  /** Since the last call. */
  take(): Passed;
  /** Ends every connection, as an idle one is ended: without an error. */
  cut(): Promise<void>;
  close(): void;
}

export async function startRelay(targetPort: number): Promise<Relay> {
  let passed: Passed = { connections: 0, bytesUp: 0, bytesDown: 0 };
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true });
    passed = { ...passed, connections: passed.connections + 1 };
    client.on('data', ({ length }) => {
      passed = { ...passed, bytesUp: passed.bytesUp + length };
    });
    upstream.on('data', ({ length }) => {
      passed = { ...passed, bytesDown: passed.bytesDown + length };
    });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.setNoDelay(true);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    take: () => {
      const taken = passed;
      passed = { connections: 0, bytesUp: 0, bytesDown: 0 };
      return taken;
    },
    cut: async () => {
      await Promise.all(
        [...open].map(async (socket) => {
          const closed = once(socket, 'close');
          socket.end();
          socket.destroySoon();
          await closed;
        }),
      );
    },
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
