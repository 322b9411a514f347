/** The state of the pipeline, for operators: its lag and its processes. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Services } from '../http/dependencies';
import { problemSchema } from '../http/problem';
import { lagSchema, processPage } from './schemas';

/** `GET /lag`, `GET /processes`. */
export function pipelineRoutes({ pipelineState }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/lag',
      {
        config: {
          operation: {
            operationId: 'readLag',
            tag: 'Pipeline',
            summary: 'Read the consumer lag of the collector',
            key: 'operator',
            problems: ['KAFKA_UNAVAILABLE'],
            example: { url: '/v1/lag' },
          },
        },
        schema: { response: { 200: lagSchema, default: problemSchema } },
      },
      async () => {
        const partitions = await pipelineState.readLag();
        const total = partitions.reduce((sum, partition) => sum + partition.lag, 0);
        return { total, partitions };
      },
    );

    app.get(
      '/processes',
      {
        config: {
          operation: {
            operationId: 'listProcesses',
            tag: 'Pipeline',
            summary: 'List the running processes',
            key: 'operator',
            example: { url: '/v1/processes' },
          },
        },
        schema: { response: { 200: processPage, default: problemSchema } },
      },
      async () => {
        const found = await pipelineState.readProcesses();
        return { items: found.map(({ name, running }) => ({ name, running: running ?? null })) };
      },
    );
  };
}
