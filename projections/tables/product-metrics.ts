import { productEffects } from '../effects/product-effects';
import { maximum, newest, projection, sum } from '../projection';

/** What the events of a product add up to. */
export const productMetrics = projection({
  table: 'product_metrics',
  about: 'Views, sales, likes and stock of each product',
  effects: productEffects,
  key: ['product_id'],
  columns: {
    view_count: sum('views'),
    sales_count: sum('sales'),
    like_count: newest('like_count', { by: 'like_version', initially: 0 }),
    like_version: maximum('like_version', 0),
    stock: newest('stock', { by: 'stock_version' }),
    stock_version: maximum('stock_version', 0),
  },
  stamped: true,
});
