import { productEffects } from '../effects/product-effects';
import { projection, sum } from '../projection';

/** What the events of a product add on each day: the UTC date of the event's time. */
export const productMetricsDaily = projection({
  table: 'product_metrics_daily',
  about: 'Views, likes and sales of each product and day',
  effects: productEffects,
  key: ['product_id', 'day'],
  columns: {
    view_count: sum('views'),
    like_delta: sum('likes'),
    sales_count: sum('sales'),
  },
});
