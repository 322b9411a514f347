import { z } from 'zod';
import { defineEvent, none } from '../definition';
import { orderItems } from '../fields';
import { aggregateIdSchema } from '../identifiers';

/** A cancelled order. `wasConfirmed` tells whether its items had counted as sold. */
export const orderCancelled = defineEvent({
  type: 'OrderCancelled',
  topic: 'order-events',
  aggregate: 'orderId',
  summary: 'An order was cancelled and its stock released.',
  versions: {
    1: z.object({
      orderId: aggregateIdSchema,
      userId: aggregateIdSchema,
      items: orderItems,
      reason: z.string(),
      wasConfirmed: z.boolean(),
    }),
  },
  example: {
    orderId: 'order-1',
    userId: 'user-1',
    items: [{ productId: 'product-1', quantity: 2, unitPrice: 900 }],
    reason: 'changed my mind',
    wasConfirmed: false,
  },
  describe: ({ userId, reason }) => `of ${userId}: ${reason}`,
  staleDetails: none,
});
