/** Somebody on the wire between a device and its gateway, who sees when which step begins. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Between {
  /** In place of the gateway's. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * @param acts - runs when the first bytes of the gateway have come, and before the device gets them: in
 *   TLS, after the server's Hello and before the client signs
 */
export async function standBetween(gateway: string, acts: () => Promise<void>): Promise<Between> {
  const { hostname, port } = new URL(gateway);
  const sockets = new Set<Socket>();
  let acted: Promise<void> | undefined;
  const server = createServer((device) => {
    const upstream = connect(Number(port), hostname);
    for (const one of [device, upstream]) {
      sockets.add(one);
      one.on('error', () => one.destroy());
    }
    device.pipe(upstream);
    upstream.once('data', (hello: Buffer) => {
      upstream.pause();
      acted ??= acts();
      void acted.then(() => {
        device.write(hello);
        upstream.pipe(device);
      });
    });
  });
  await once(server.listen(0, hostname), 'listening');
  return {
    url: `https://${hostname}:${String((server.address() as AddressInfo).port)}`,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
