import { productEffects } from '../effects/product-effects';
import { maximum, newest, projection, sum } from '../projection';

/** What each user did with each product. */
export const productUserMetrics = projection({
  table: 'product_user_metrics',
  about: 'Views, purchases and likes of each product and user',
  effects: productEffects,
  key: ['product_id', 'user_id'],
  columns: {
    view_count: sum('views'),
    purchase_count: sum('sales'),
    liked: newest('liked', { by: 'like_version', initially: false }),
    liked_version: maximum('like_version', 0),
    last_event_at: maximum('occurred_at'),
  },
});
