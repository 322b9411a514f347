/** The state of the pipeline, for operators: its lag and its processes. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Services } from '../http/dependencies';
import { requireRole } from '../http/plugins/authentication';
import { problemSchema } from '../http/problem';
import { lagSchema, processPage } from './schemas';

/** `GET /lag`, `GET /processes`. */
export function pipelineRoutes({ pipelineState }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.addHook('onRequest', requireRole('operator'));

    app.get(
      '/lag',
      { schema: { response: { 200: lagSchema, default: problemSchema } } },
      async () => {
        const partitions = await pipelineState.readLag();
        const total = partitions.reduce((sum, partition) => sum + partition.lag, 0);
        return { total, partitions };
      },
    );

    app.get(
      '/processes',
      { schema: { response: { 200: processPage, default: problemSchema } } },
      async () => {
        const found = await pipelineState.readProcesses();
        return { items: found.map(({ name, running }) => ({ name, running: running ?? null })) };
      },
    );
  };
}
