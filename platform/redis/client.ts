/** Redis: a connection that fails fast while the server is unavailable, and reconnects. */
import type { ConnectionOptions } from 'node:tls';
import { Redis } from 'ioredis';
import { readCertificateFile } from '../process/certificates';
import type { Logger } from '../observability/logger';

/** Connection options besides the URL. */
export interface RedisTransport {
  /** Path of the authority's certificate, PEM; the system's unless given. */
  readonly caFile?: string | undefined;
}

/**
 * A connection to Redis. While it is unavailable a command fails within a second instead of waiting:
 * cache readers fall back to the database, evictions are retried.
 *
 * @throws ConfigurationError when the certificate file cannot be read
 */
export function createRedis(url: string, logger: Logger, transport: RedisTransport = {}): Redis {
  const redis = new Redis(url, {
    ...redisOptions(transport),
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
  });
  let unavailable = false;
  redis.on('error', (error: Error) => {
    if (!unavailable) logger.warn({ err: error }, 'Redis unavailable; reconnecting with backoff');
    unavailable = true;
  });
  redis.on('ready', () => {
    if (unavailable) logger.info('Redis reconnected');
    unavailable = false;
  });
  return redis;
}

/** Options common to every Redis connection. @throws ConfigurationError */
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
