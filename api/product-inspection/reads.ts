/** What the shop and the cache hold of a product, without changing either. */
import type { z } from 'zod';
import type { Logger } from '../../platform/observability/logger';
import { productCacheKey } from '../../cache/product-cache';
import type { Database } from '../http/database';
import type { inspectionSchema } from './schemas';
import type { RedisConnection } from '../../platform/redis/client';

/** A product as the shop and the cache have it. */
type Inspection = Omit<z.output<typeof inspectionSchema>, 'metrics'>;

/** Inspects products. */
export interface ProductInspection {
  /** @throws DatabaseUnavailableError */
  inspect(productId: string): Promise<Inspection>;
}

/** What inspecting needs. */
export interface ProductInspectionDependencies {
  readonly database: Database;
  readonly redis: RedisConnection;
  readonly logger: Logger;
}

/** Inspects in PostgreSQL and Redis. */
export function createProductInspection(
  dependencies: ProductInspectionDependencies,
): ProductInspection {
  const { database, redis, logger } = dependencies;
  return {
    async inspect(productId) {
      const [rows, cache] = await Promise.all([
        database.query<NonNullable<Inspection['shop']>>({
          name: 'product-inspection',
          text: `
            SELECT name, price, stock, like_count AS "likeCount"
            FROM commerce.products WHERE product_id = $1`,
          values: [productId],
        }),
        readCache(redis, productId).catch((error: unknown) => {
          logger.debug({ err: error }, 'inspecting the product cache failed');
          return { status: 'unknown' } as const;
        }),
      ]);
      return { productId, shop: rows[0] ?? null, cache };
    },
  };
}

// Not through the cache's own look-up, which would hand out a lease.
async function readCache(redis: RedisConnection, productId: string): Promise<Inspection['cache']> {
  const key = productCacheKey(productId);
  const [json, expiresInMs] = await Promise.all([redis.get(key), redis.pttl(key)]);
  if (json === null || expiresInMs < 0) return { status: 'absent' };
  return { status: 'cached', expiresInMs, detail: JSON.parse(json) as Record<string, unknown> };
}
