/**
 * A TCP proxy in front of Kafka that cuts a connection at the worst moment: the broker has taken the
 * request, and its answer is on the way.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A proxy that is listening. */
export interface CuttingProxy {
  readonly port: number;
  /** How many answers it has swallowed. */
  cuts(): number;
  /** Cuts every connection and stops listening. */
  stop(): Promise<void>;
}

/** Requests whose answers may be swallowed (https://kafka.apache.org/protocol#protocol_api_keys). */
const cutRequests = new Map([
  [0, 'Produce'],
  [8, 'OffsetCommit'],
]);

/**
 * Listens on 127.0.0.1 and passes everything on to `targetPort` there.
 *
 * @param cutEvery of so many such requests, the answer to one is swallowed and its connection cut
 */
export async function startCuttingProxy(
  targetPort: number,
  cutEvery: number,
): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let seen = 0;
  let cuts = 0;
  const server = createServer((client) => {
    const broker = connect(targetPort, '127.0.0.1');
    const cut = (): void => {
      client.destroy();
      broker.destroy();
    };
    let doomed = false;
    const requests = readApiKeys((apiKey) => {
      if (!cutRequests.has(apiKey)) return;
      seen += 1;
      doomed ||= seen % cutEvery === 0;
    });
    client.on('data', (chunk) => {
      requests(chunk);
      broker.write(chunk);
    });
    broker.on('data', (chunk) => {
      if (!doomed) {
        client.write(chunk);
        return;
      }
      cuts += 1;
      cut();
    });
    for (const socket of [client, broker]) {
      sockets.add(socket);
      socket.on('close', cut);
      // Whatever ends one side ends the other: 'close' follows every error.
      socket.on('error', () => undefined);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cuts: () => cuts,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Calls back with the kind of each request: its size comes first (4 bytes), then its kind (2 bytes). */
function readApiKeys(found: (apiKey: number) => void): (chunk: Buffer) => void {
  let pending: Buffer = Buffer.alloc(0);
  let toSkip = 0;
  return (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      const skipped = Math.min(toSkip, pending.length);
      pending = pending.subarray(skipped);
      toSkip -= skipped;
      if (toSkip > 0 || pending.length < 6) return;
      found(pending.readInt16BE(4));
      toSkip = 4 + pending.readInt32BE(0);
    }
  };
}
