/** Graceful shutdown: requests in progress are answered, and their connections closed. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import fastifyPlugin from 'fastify-plugin';
import { pause } from '../../../platform/process/waiting';

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the server should get no new requests: it drains, or is closing. */
    isStopping(): boolean;
    /**
     * Goes on accepting for `ms` while `/readyz` answers 503: time for load balancers to send requests
     * elsewhere. Each connection is closed with its next answer.
     */
    drain(ms: number): Promise<void>;
  }
}

/**
 * Closes each connection with its current answer. Node.js closes only those that are idle when the
 * server begins to close; a client's pool would keep the others open for a minute.
 */
export const shutdown = fastifyPlugin(async (app) => {
  let stopping = false;
  let closing = false;
  app.decorate('isStopping', () => stopping);
  app.decorate('drain', async (ms: number) => {
    stopping = true;
    await pause(ms);
  });
  app.addHook('preClose', async () => {
    stopping = true;
    closing = true;
  });
  app.addHook('onSend', async (_, reply, payload) => {
    if (stopping) reply.header('connection', 'close');
    return payload;
  });
  // For an answer that was already on its way when the server began to close. Not while it drains: a
  // client may be sending its next request on an idle connection.
  app.addHook('onResponse', async () => {
    if (!closing) return;
    await nextTurn();
    app.server.closeIdleConnections();
  });
});
