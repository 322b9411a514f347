/** The inspection of a product in answers. */
import { z } from 'zod';
import { productMetricsSchema } from '../product-metrics/schemas';

/** A product as the collector, the shop and the cache have it. */
export const inspectionSchema = z.object({
  productId: z.string(),
  metrics: productMetricsSchema
    .nullable()
    .describe('null when no event of the product has been handled'),
  shop: z
    .object({ name: z.string(), price: z.int(), stock: z.int(), likeCount: z.int() })
    .nullable()
    .describe('null when the product is not in the catalog'),
  cache: z.discriminatedUnion('status', [
    z.object({
      status: z.literal('cached'),
      expiresInMs: z.int(),
      detail: z.looseObject({}).describe('the cached product detail'),
    }),
    z.object({ status: z.literal('absent') }),
    z.object({ status: z.literal('unknown').describe('Redis is unavailable') }),
  ]),
});
