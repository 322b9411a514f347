import { z } from 'zod';
import { defineEvent, none } from '../definition';
import { amount } from '../fields';
import { aggregateIdSchema } from '../identifiers';

/** Money that was captured for an order. */
export const paymentCompleted = defineEvent({
  type: 'PaymentCompleted',
  topic: 'order-events',
  aggregate: 'orderId',
  summary: 'The payment of an order was captured.',
  versions: {
    1: z.object({ orderId: aggregateIdSchema, paymentId: z.string().min(1), amount }),
  },
  example: { orderId: 'order-1', paymentId: 'payment-1', amount: 1800 },
  describe: ({ amount: paid, paymentId }) => `${paid} as ${paymentId}`,
  staleDetails: none,
});
