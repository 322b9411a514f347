import { z } from 'zod';
import { defineEvent, none } from '../definition';
import { amount, stockLevel, version } from '../fields';
import { aggregateIdSchema } from '../identifiers';

/** The first event of a product. Nothing can be cached of it yet. */
export const productRegistered = defineEvent({
  type: 'ProductRegistered',
  topic: 'catalog-events',
  aggregate: 'productId',
  summary: 'A product was registered.',
  versions: {
    1: z.object({
      productId: aggregateIdSchema,
      name: z.string().min(1),
      price: amount,
      stock: stockLevel,
      version,
    }),
  },
  example: { productId: 'product-1', name: 'Mug', price: 900, stock: 5, version: 1 },
  describe: ({ name, stock, price }) => `${name}, stock ${stock}, price ${price}`,
  staleDetails: none,
});
