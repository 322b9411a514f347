/** One log line per request, when it has been answered. */
import fastifyPlugin from 'fastify-plugin';

/** Logs every answer: changes and errors at `info`, successful reads at `debug`. */
export const requestLog = fastifyPlugin(async (app) => {
  app.addHook('onResponse', (request, reply, done) => {
    const reading = request.method === 'GET' && reply.statusCode < 400;
    const line = {
      method: request.method,
      // Without the query, which may hold secrets.
      path: request.url.split('?', 1)[0],
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      caller: request.caller?.name,
      userId: request.userId,
    };
    request.log[reading ? 'debug' : 'info'](line, 'answered');
    done();
  });
});
