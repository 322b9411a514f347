/** Redis: a connection that fails fast while the server is away, and comes back by itself. */
import type { ConnectionOptions } from 'node:tls';
import { Redis } from 'ioredis';
import { readCertificateFile } from '../process/certificates';
import type { Logger } from '../observability/logger';

/** How to reach Redis, beside its URL. */
export interface RedisTransport {
  /** Path of the authority's certificate, PEM; the system's unless given. */
  readonly caFile?: string | undefined;
}

/**
 * A connection to Redis. A command while it is away fails within a second instead of waiting:
 * whoever reads the cache goes on to the database, whoever must evict tries again later.
 *
 * @throws ConfigurationError when the certificate's file cannot be read
 */
export function createRedis(url: string, logger: Logger, transport: RedisTransport = {}): Redis {
  const redis = new Redis(url, {
    ...redisOptions(transport),
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
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

/** What every connection to Redis has in common. @throws ConfigurationError */
export function redisOptions({ caFile }: RedisTransport): CommonOptions {
  const timeouts = { commandTimeout: 1_000, connectTimeout: 2_000 };
  if (caFile === undefined) return timeouts;
  return { ...timeouts, tls: { ca: readCertificateFile('REDIS_TLS_CA_FILE', caFile) } };
}

interface CommonOptions {
  readonly commandTimeout: number;
  readonly connectTimeout: number;
  readonly tls?: ConnectionOptions;
}
