import { z } from 'zod';
import { defineEvent, none } from '../definition';
import { amount, orderItems } from '../fields';
import { aggregateIdSchema } from '../identifiers';

/** An order whose stock is reserved, and whose payment is under way. */
export const orderPlaced = defineEvent({
  type: 'OrderPlaced',
  topic: 'order-events',
  aggregate: 'orderId',
  summary: 'An order was placed and its stock reserved.',
  versions: {
    1: z.object({
      orderId: aggregateIdSchema,
      userId: aggregateIdSchema,
      items: orderItems,
      totalAmount: amount,
    }),
  },
  example: {
    orderId: 'order-1',
    userId: 'user-1',
    items: [{ productId: 'product-1', quantity: 2, unitPrice: 900 }],
    totalAmount: 1800,
  },
  describe: ({ userId, totalAmount }) => `by ${userId}, for ${totalAmount}`,
  staleDetails: none,
});
