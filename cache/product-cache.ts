/**
 * The cache of product details in Redis, with leases: a reader that misses gets a lease, an eviction
 * voids it, and a fill with a void lease is rejected. So a reader that loaded a stale row cannot cache
 * it after the eviction.
 *
 * As in 'Scaling Memcache at Facebook' (NSDI 2013), section 3.2.1.
 */
import { randomUUID } from 'node:crypto';
import { detailLeaseMs, detailTimeToLiveMs } from '../events/cached-details';
import { cacheEvictions, cacheFills, cacheLookups } from '../platform/observability/telemetry';
import type { RedisConnection } from '../platform/redis/client';

/** A cache lookup: the detail as JSON on a hit, a lease on a miss. */
export type CacheLookup =
  { readonly hit: true; readonly json: string } | { readonly hit: false; readonly lease: string };

/** The cache of product details. */
export interface ProductCache {
  /** The cached detail, or a lease that allows the caller to fill it once it has loaded the product. */
  lookUp(productId: string): Promise<CacheLookup>;
  /** Caches a detail, unless an eviction has voided the lease. Returns whether it was cached. */
  fill(productId: string, lease: string, json: string): Promise<boolean>;
  /** Removes the products' details and voids every lease on them. Idempotent. */
  evict(productIds: readonly string[]): Promise<void>;
}

export interface ProductCacheOptions {
  /**
   * TTL of a detail, in ms, from when its lease was given: bounds the staleness of changes that evict
   * nothing, and of evictions that a failover of Redis forgot.
   */
  readonly timeToLiveMs?: number;
  /** TTL of a lease, in ms: longest time from miss to fill. */
  readonly leaseMs?: number;
}

/** The key under which a product's detail is cached. */
export function productCacheKey(productId: string): string {
  return `product:${productId}`;
}

/** In a Redis Cluster in the slot of the detail, whose key is its hash tag: one script reads both. */
export function productLeaseKey(productId: string): string {
  return `product-lease:{${productCacheKey(productId)}}`;
}

/**
 * A key that belongs to no product, for trying whether Redis takes writes. The rights on leases cover it.
 */
export const cacheProbeKey = 'product-lease:{probe}';

/** The cache on a Redis connection. */
export function createProductCache(
  redis: RedisConnection,
  options: ProductCacheOptions = {},
): ProductCache {
  const { timeToLiveMs = detailTimeToLiveMs, leaseMs = detailLeaseMs } = options;
  const lookUpWithLease = async (productId: string): Promise<CacheLookup> => {
    const [json, lease] = (await redis.eval(
      lookUpScript,
      2,
      ...keysOf(productId),
      randomUUID(),
      leaseMs,
    )) as [string | null, string | null];
    return json === null ? { hit: false, lease: lease ?? '' } : hitOf(json);
  };
  const get = gatherGets(redis);
  return {
    async lookUp(productId) {
      // Nearly every lookup is a hit, and a script costs Redis several times as much.
      const cached = await get(productCacheKey(productId));
      const lookup = cached === null ? await lookUpWithLease(productId) : hitOf(cached);
      cacheLookups.inc({ result: lookup.hit ? 'hit' : 'miss' });
      return lookup;
    },

    async fill(productId, lease, json) {
      const filled = await redis.eval(
        fillScript,
        2,
        ...keysOf(productId),
        lease,
        json,
        timeToLiveMs,
        leaseMs,
      );
      cacheFills.inc({ result: filled === 1 ? 'stored' : 'refused' });
      return filled === 1;
    },

    async evict(productIds) {
      if (productIds.length === 0) return;
      // In a Redis Cluster a command has keys of one slot.
      if (redis.isCluster) await Promise.all(productIds.map((id) => redis.unlink(keysOf(id))));
      else await redis.unlink(productIds.flatMap(keysOf));
      cacheEvictions.inc(productIds.length);
    },
  };
}

/**
 * Reads what is asked for in one turn of the event loop with one write to the socket, which is most of what a
 * `GET` costs. Each keeps its own time-out; none waits for a group before it, all of one for the slowest.
 */
function gatherGets(redis: RedisConnection): (key: string) => Promise<string | null> {
  // In a cluster the keys belong to several servers.
  if (redis.isCluster) return (key) => redis.get(key);
  let group: { readonly keys: string[]; readonly values: Promise<Gotten> } | undefined;
  const read = async (keys: readonly string[]): Promise<Gotten> => {
    await new Promise(setImmediate);
    group = undefined;
    const pipeline = redis.pipeline();
    for (const key of keys) pipeline.get(key);
    // null is the result of a transaction that was given up, and this is none.
    return (await pipeline.exec())!;
  };
  return async (key) => {
    if (group === undefined) {
      const keys: string[] = [];
      group = { keys, values: read(keys) };
    }
    const index = group.keys.push(key) - 1;
    const [error, value] = (await group.values)[index]!;
    if (error !== null) throw error;
    return value as string | null;
  };
}

/** A result, or the failure of that command alone, for each key of a group. */
type Gotten = readonly (readonly [error: Error | null, value: unknown])[];

function hitOf(json: string): CacheLookup {
  return { hit: true, json };
}

function keysOf(productId: string): [detail: string, lease: string] {
  return [productCacheKey(productId), productLeaseKey(productId)];
}

// Concurrent misses share one lease: all of them load after the last eviction.
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
  local age = ARGV[4] - redis.call('PTTL', KEYS[2])
  local timeToLive = ARGV[3] - math.max(age, 0)
  if timeToLive < 1 then return 0 end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', timeToLive)
  redis.call('DEL', KEYS[2])
  return 1
`;
