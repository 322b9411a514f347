import { z } from 'zod';
import { defineEvent, none } from '../definition';
import { aggregateIdSchema } from '../identifiers';

/** A view of a product's detail, by a user or a guest. */
export const productViewed = defineEvent({
  type: 'ProductViewed',
  topic: 'catalog-events',
  aggregate: 'productId',
  summary: "Somebody viewed a product's detail.",
  versions: {
    1: z.object({ productId: aggregateIdSchema, userId: aggregateIdSchema.optional() }),
  },
  example: { productId: 'product-1', userId: 'user-1' },
  describe: ({ userId }) => `viewed by ${userId ?? 'a guest'}`,
  staleDetails: none,
});
