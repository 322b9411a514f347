/** A product in the shop, the metrics and the cache side by side, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { problemSchema } from '../http/problem';
import { productParams } from '../products/named-product';
import { inspectionSchema } from './schemas';

/** `GET /products/{productId}/inspection`. */
export function productInspectionRoutes(services: Services): FastifyPluginAsyncZod {
  const { productMetricsReads, productInspection } = services;
  return async (app) => {
    app.get(
      '/products/:productId/inspection',
      {
        config: {
          operation: {
            operationId: 'inspectProduct',
            tag: 'Products',
            summary: 'Inspect a product in the shop, the metrics and the cache',
            description: 'Does not count as a view.',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/products/$PRODUCT/inspection', after: 'PRODUCT' },
          },
        },
        schema: {
          params: productParams,
          response: { 200: inspectionSchema, default: problemSchema },
        },
      },
      async ({ params: { productId } }) => {
        const [inspected, metrics] = await Promise.all([
          productInspection.inspect(productId),
          productMetricsReads.find(productId),
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
