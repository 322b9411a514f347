/** One line a request, when it has been answered. */
import fastifyPlugin from 'fastify-plugin';

/** Logs every answer: changes and refusals at `info`, what is asked all the time at `debug`. */
export const requestLog = fastifyPlugin(async (app) => {
  app.addHook('onResponse', async (request, reply) => {
    const reading = request.method === 'GET' && reply.statusCode < 400;
    const line = {
      method: request.method,
      // Without the query, which a client may have put anything into.
      path: request.url.split('?', 1)[0],
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      caller: request.caller?.name,
      userId: request.userId,
    };
    request.log[reading ? 'debug' : 'info'](line, 'answered');
  });
});
