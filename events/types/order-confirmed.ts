import { defineEvent, none } from '../definition';
import { orderPlaced } from './order-placed';

/** A paid order. Its data is that of `OrderPlaced`: a reader needs no earlier event. */
export const orderConfirmed = defineEvent({
  type: 'OrderConfirmed',
  topic: 'order-events',
  aggregate: 'orderId',
  summary: 'An order was paid and confirmed.',
  versions: orderPlaced.versions,
  example: orderPlaced.example,
  describe: ({ userId, totalAmount }) => `of ${userId}, for ${totalAmount}`,
  staleDetails: none,
});
