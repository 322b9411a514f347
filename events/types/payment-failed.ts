import { z } from 'zod';
import { defineEvent, none } from '../definition';
import { amount } from '../fields';
import { aggregateIdSchema } from '../identifiers';

/** Money that could not be had: the order is being cancelled. */
export const paymentFailed = defineEvent({
  type: 'PaymentFailed',
  topic: 'order-events',
  aggregate: 'orderId',
  summary: 'The payment of an order failed; the order is being cancelled.',
  versions: {
    1: z.object({ orderId: aggregateIdSchema, amount, reason: z.string() }),
  },
  example: { orderId: 'order-1', amount: 1800, reason: 'declined' },
  describe: ({ amount: due, reason }) => `${due}: ${reason}`,
  staleDetails: none,
});
