/**
 * The cache of product details in Redis, with leases: a reader that misses is handed a lease,
 * an eviction voids it, and a fill with a void lease is refused. So a reader that loaded the old
 * row before a change cannot put it back after the eviction that the change caused.
 *
 * The scheme is the one of 'Scaling Memcache at Facebook' (NSDI 2013), section 3.2.1.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { cacheEvictions, cacheFills, cacheLookups } from '../platform/observability/telemetry';

/** What looking a product up in the cache gives: its detail as JSON, or a lease to fill it with. */
export type CacheLookup =
  { readonly hit: true; readonly json: string } | { readonly hit: false; readonly lease: string };

/** The cache of product details. */
export interface ProductCache {
  /** The cached detail, or a lease that allows the caller to fill it once it has loaded the product. */
  lookUp(productId: string): Promise<CacheLookup>;
  /** Caches a detail, unless the lease was voided by an eviction meanwhile. Answers whether it was cached. */
  fill(productId: string, lease: string, json: string): Promise<boolean>;
  /** Removes the products' details and voids every lease on them. Doing it twice is doing it once. */
  evict(productIds: readonly string[]): Promise<void>;
}

/** Options of the cache. */
export interface ProductCacheOptions {
  /** How long a detail is kept, in ms: bounds what a change that evicts nothing can leave stale. */
  readonly timeToLiveMs?: number;
  /** How long a reader may take from its miss to its fill, in ms. */
  readonly leaseMs?: number;
}

/** The key under which a product's detail is cached. */
export function productCacheKey(productId: string): string {
  return `product:${productId}`;
}

/** The key of the lease that a reader has who missed the product. */
export function productLeaseKey(productId: string): string {
  return `product-lease:${productId}`;
}

/**
 * How a like count is shown: exact below 1,000, rounded down to hundreds from there on. The cached
 * detail carries the shown count, so only a change of it has to evict.
 */
export function shownLikeCount(likeCount: number): number {
  return likeCount < 1_000 ? likeCount : Math.floor(likeCount / 100) * 100;
}

/** The cache on a Redis connection. */
export function createProductCache(redis: Redis, options: ProductCacheOptions = {}): ProductCache {
  const { timeToLiveMs = 300_000, leaseMs = 10_000 } = options;
  return {
    async lookUp(productId) {
      const [json, lease] = (await redis.eval(
        lookUpScript,
        2,
        ...keysOf(productId),
        randomUUID(),
        leaseMs,
      )) as [string | null, string | null];
      cacheLookups.inc({ result: json === null ? 'miss' : 'hit' });
      return json === null ? { hit: false, lease: lease ?? '' } : { hit: true, json };
    },

    async fill(productId, lease, json) {
      const filled = await redis.eval(
        fillScript,
        2,
        ...keysOf(productId),
        lease,
        json,
        timeToLiveMs,
      );
      cacheFills.inc({ result: filled === 1 ? 'stored' : 'refused' });
      return filled === 1;
    },

    async evict(productIds) {
      if (productIds.length === 0) return;
      await redis.unlink(productIds.flatMap(keysOf));
      cacheEvictions.inc(productIds.length);
    },
  };
}

function keysOf(productId: string): [detail: string, lease: string] {
  return [productCacheKey(productId), productLeaseKey(productId)];
}

// Readers that miss together share one lease: all of them loaded after the last eviction.
const lookUpScript = `
  local detail = redis.call('GET', KEYS[1])
  if detail then return { detail, false } end
  local lease = redis.call('GET', KEYS[2])
  if not lease then
    lease = ARGV[1]
    redis.call('SET', KEYS[2], lease, 'PX', ARGV[2])
  end
  return { false, lease }
`;

const fillScript = `
  if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  redis.call('DEL', KEYS[2])
  return 1
`;
