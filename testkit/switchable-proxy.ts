/**
 * A TCP proxy whose connections can be left half-open, as behind a load balancer that has lost its
 * server: they stay, take what is sent, and never answer again. New ones may lead to another server.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A proxy that is listening. */
export interface SwitchableProxy {
  readonly port: number;
  /** From now on new connections lead to this port. */
  leadTo(targetPort: number): void;
  /** Leaves the connections that there are half-open, for good. */
  silence(): void;
  /** While true, new connections are half-open from the start. */
  takesOnlySilently(silently: boolean): void;
  /** Cuts every connection and stops listening. */
  stop(): Promise<void>;
}

/** Listens on 127.0.0.1 and passes everything on to `targetPort` there. */
export async function startSwitchableProxy(targetPort: number): Promise<SwitchableProxy> {
  const clients = new Map<Socket, Socket>();
  let target = targetPort;
  let silently = false;
  // Bytes that are read and dropped: the kernel goes on to acknowledge them, as that of a proxy would.
  const silence = (client: Socket, server: Socket): void => {
    client.unpipe(server);
    server.unpipe(client);
    client.resume();
    server.destroy();
  };
  const listener = createServer((client) => {
    const server = connect(target, '127.0.0.1');
    clients.set(client, server);
    client.on('error', () => undefined);
    server.on('error', () => undefined);
    client.once('close', () => {
      clients.delete(client);
      server.destroy();
    });
    client.pipe(server, { end: false });
    server.pipe(client, { end: false });
    server.once('end', () => client.end());
    server.once('close', (hadError) => hadError && client.destroy());
    if (silently) silence(client, server);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    port: (listener.address() as AddressInfo).port,
    leadTo: (port) => (target = port),
    silence: () => clients.forEach((server, client) => silence(client, server)),
    takesOnlySilently: (now) => (silently = now),
    async stop() {
      const closed = once(listener, 'close');
      listener.close();
      for (const client of clients.keys()) client.destroy();
      await closed;
    },
  };
}
