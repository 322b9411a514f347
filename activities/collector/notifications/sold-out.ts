/** Tells a receiver that a product is sold out: once each time that its stock falls to 0. */
import { declareNotification } from './notification';

export const soldOut = declareNotification({
  name: 'sold-out',
  receiver: 'WEBHOOK_SOLD_OUT_URL',
  event: 'StockAdjusted',
  isDue: `collector.whole_number(data ->> 'previousStock') > 0
    AND collector.whole_number(data ->> 'stock') = 0`,
  tell: ({ id, time, data: { productId, version } }) => ({
    type: 'product.sold-out',
    timestamp: time,
    // The version tells a receiver which of two messages is newer: they may arrive in any order.
    data: { eventId: id, productId, stockVersion: version },
  }),
});
