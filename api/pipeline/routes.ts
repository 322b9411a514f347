/** The state of the pipeline, for operators: its lag, its processes, and what the shop has of a product. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Services } from '../http/dependencies';
import { requireRole } from '../http/plugins/authentication';
import { problemSchema } from '../http/problem';
import { productMetricsSchema } from '../product-metrics/routes';
import { productParams } from '../products/routes';

/** `GET /lag`, `GET /processes`, `GET /products/{productId}/inspection`. */
export function pipelineRoutes(services: Services): FastifyPluginAsyncZod {
  const { collectorReads, pipelineState, productInspection } = services;
  return async (app) => {
    app.addHook('onRequest', requireRole('operator'));

    app.get('/lag', { schema: { response: { 200: lag, default: problemSchema } } }, async () => {
      const partitions = await pipelineState.readLag();
      const total = partitions.reduce((sum, partition) => sum + partition.lag, 0);
      return { total, partitions };
    });

    app.get(
      '/processes',
      { schema: { response: { 200: processes, default: problemSchema } } },
      async () => {
        const found = await pipelineState.readProcesses();
        return { items: found.map(({ name, running }) => ({ name, running: running ?? null })) };
      },
    );

    app.get(
      '/products/:productId/inspection',
      {
        schema: {
          description:
            'What the collector, the shop and the cache hold of a product. Does not count as a view.',
          params: productParams,
          response: { 200: inspection, default: problemSchema },
        },
      },
      async ({ params: { productId } }) => {
        const [inspected, metrics] = await Promise.all([
          productInspection.inspect(productId),
          collectorReads.findProduct(productId),
        ]);
        return {
          ...inspected,
          metrics:
            metrics === undefined
              ? null
              : { ...metrics, updatedAt: metrics.updatedAt.toISOString() },
        };
      },
    );
  };
}

const lag = z.object({
  total: z.int(),
  partitions: z.array(
    z.object({
      topic: z.string(),
      partition: z.int(),
      committed: z.int().nullable().describe('null when the collector has committed none yet'),
      end: z.int().describe('the offset that the next message will get'),
      lag: z.int().describe('messages that are there and not committed'),
    }),
  ),
});

const processes = z.object({
  items: z.array(
    z.object({
      name: z.string(),
      running: z
        .int()
        .nullable()
        .describe('how many ask for work; null when the server that knows cannot be asked'),
    }),
  ),
});

const inspection = z.object({
  productId: z.string(),
  metrics: productMetricsSchema.nullable().describe('null when no event has told of the product'),
  shop: z
    .object({ name: z.string(), price: z.int(), stock: z.int(), likeCount: z.int() })
    .nullable()
    .describe('null when the shop does not know the product'),
  cache: z.discriminatedUnion('status', [
    z.object({
      status: z.literal('cached'),
      expiresInMs: z.int(),
      detail: z.looseObject({}).describe('what shoppers are shown'),
    }),
    z.object({ status: z.literal('absent') }),
    z.object({ status: z.literal('unknown').describe('Redis does not answer') }),
  ]),
});
