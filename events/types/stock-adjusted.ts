import { z } from 'zod';
import { defineEvent } from '../definition';
import { stockLevel, version } from '../fields';
import { aggregateIdSchema } from '../identifiers';
import { isSoldOut } from '../product-detail';

/** Why a product's stock changed. */
const stockReason = z.enum(['restock', 'correction', 'order', 'order-cancelled']);

/** A change of a product's stock, by an operator or an order. */
export const stockAdjusted = defineEvent({
  type: 'StockAdjusted',
  topic: 'catalog-events',
  aggregate: 'productId',
  summary: 'The stock of a product changed; `stock` is what it is now.',
  versions: {
    1: z.object({
      productId: aggregateIdSchema,
      delta: z.int(),
      stock: stockLevel.describe('after the change'),
      previousStock: stockLevel,
      reason: stockReason,
      orderId: aggregateIdSchema.optional(),
      version,
    }),
  },
  example: {
    productId: 'product-1',
    delta: -2,
    stock: 3,
    previousStock: 5,
    reason: 'order',
    orderId: 'order-1',
    version: 2,
  },
  describe: ({ delta, stock, reason }) => `${signed(delta)} to ${stock}, ${reason}`,
  staleDetails: ({ productId, stock, previousStock }) =>
    isSoldOut(stock) === isSoldOut(previousStock) ? [] : [productId],
});

function signed(delta: number): string {
  return `${delta > 0 ? '+' : delta < 0 ? '−' : ''}${Math.abs(delta)}`;
}
