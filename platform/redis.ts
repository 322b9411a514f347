/** Redis: a connection that fails fast while the server is away, and comes back by itself. */
import { Redis } from 'ioredis';
import type { Logger } from './logger';

/**
 * A connection to Redis. A command while it is away fails within a second instead of waiting:
 * whoever reads the cache goes on to the database, whoever must evict tries again later.
 */
export function createRedis(url: string, logger: Logger): Redis {
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: 1_000,
    connectTimeout: 2_000,
    retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
  });
  let away = false;
  redis.on('error', (error: Error) => {
    if (!away) logger.warn({ err: error }, 'Redis is away; reconnecting');
    away = true;
  });
  redis.on('ready', () => {
    if (away) logger.info('Redis is back');
    away = false;
  });
  return redis;
}
