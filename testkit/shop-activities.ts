/** The activities of the shop on a stack's database, called as a worker calls them, with a worker's rights. */
import type { Pool } from 'pg';
import { createLikeActivities } from '../activities/commerce/likes';
import { createOrderActivities } from '../activities/commerce/orders';
import { createProductActivities } from '../activities/commerce/products';
import { createStockActivities } from '../activities/commerce/stock';
import { createLogger } from '../platform/observability/logger';
import { createPool } from '../platform/postgres/pool';
import type { Stack } from './stack';

/** The activities that change the shop's tables. */
export type ShopActivities = ReturnType<typeof createProductActivities> &
  ReturnType<typeof createStockActivities> &
  ReturnType<typeof createLikeActivities> &
  ReturnType<typeof createOrderActivities>;

/** Opens a pool of eight connections, which the caller ends, and makes the activities on it. */
export function openShop({ config }: Stack): {
  readonly pool: Pool;
  readonly shop: ShopActivities;
} {
  const pool = createPool(config.DATABASE_URL, createLogger('test', 'fatal'), {
    applicationName: 'test-shop',
    role: 'commerce_shop',
    maxConnections: 8,
  });
  const shop = {
    ...createProductActivities({ pool }),
    ...createStockActivities({ pool }),
    ...createLikeActivities({ pool }),
    ...createOrderActivities({ pool }),
  };
  return { pool, shop };
}
