/** A receiver of webhooks that keeps the idempotency keys of what it has taken, as a good one does. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** A request as it came. */
interface ReceivedWebhook {
  readonly key: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A receiver that can be away, and that answers what it is told to. */
export interface WebhookReceiver {
  /** Where it answers, also while it is away. */
  readonly url: string;
  /** Every request, whatever the answer. */
  readonly requests: readonly ReceivedWebhook[];
  /** What it has taken, by key: the first of each. */
  readonly taken: ReadonlyMap<string, ReceivedWebhook>;
  /**
   * The status of the answer to a request, or undefined for none at all; 204 unless it says otherwise. A
   * redirect leads to another path here.
   */
  answer: (request: ReceivedWebhook) => number | undefined;
  /** Refuses every connection from now on. */
  leave(): Promise<void>;
  /** Answers again, at the same address. */
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a receiver on a free port. */
export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const requests: ReceivedWebhook[] = [];
  const taken = new Map<string, ReceivedWebhook>();
  const open = (port: number): Promise<Server> => {
    const server = createServer((request, response) => {
      void text(request).then((body) => {
        const key = String(request.headers['idempotency-key']);
        const webhook = { key, headers: request.headers, body };
        requests.push(webhook);
        const status = receiver.answer(webhook);
        if (status === undefined) return;
        if (status < 300 && !taken.has(key)) taken.set(key, webhook);
        const headers = status >= 300 && status < 400 ? { location: `${receiver.url}/moved` } : {};
        response
          .writeHead(status, headers)
          .end(status < 300 ? '' : `answered ${status} by the test`);
      });
    });
    server.listen(port, '127.0.0.1');
    return once(server, 'listening').then(() => server);
  };
  let server: Server | undefined = await open(0);
  const { port } = server.address() as AddressInfo;
  const receiver: WebhookReceiver = {
    url: `http://127.0.0.1:${port}/sold-out`,
    requests,
    taken,
    answer: () => 204,
    async leave() {
      if (server === undefined) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      server = undefined;
      await closed;
    },
    async comeBack() {
      server ??= await open(port);
    },
    stop: () => receiver.leave(),
  };
  return receiver;
}
