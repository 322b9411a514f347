/** Graceful shutdown: requests in progress are answered, and their connections closed. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import fastifyPlugin from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the server is closing and should get no new requests. */
    isStopping(): boolean;
  }
}

/**
 * Closes each connection with its current answer. Node.js closes only those that are idle when the
 * server begins to close; a client's pool would keep the others open for a minute.
 */
export const shutdown = fastifyPlugin(async (app) => {
  let stopping = false;
  app.decorate('isStopping', () => stopping);
  app.addHook('preClose', async () => {
    stopping = true;
  });
  app.addHook('onSend', async (_, reply, payload) => {
    if (stopping) reply.header('connection', 'close');
    return payload;
  });
  // For an answer that was already on its way when the server began to close.
  app.addHook('onResponse', async () => {
    if (!stopping) return;
    await nextTurn();
    app.server.closeIdleConnections();
  });
});
