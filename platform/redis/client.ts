/**
 * Redis: a connection that fails fast while the server is unavailable, notices a dead socket, and
 * reconnects; to one server, to the master that sentinels name, or to a Redis Cluster.
 */
import type { ConnectionOptions } from 'node:tls';
import { Cluster, Redis } from 'ioredis';
import { readCertificateFile } from '../process/certificates';
import type { Logger } from '../observability/logger';
import { parseRedisUrl } from './address';

/** A connection, however many servers are behind it. */
export type RedisConnection = Redis | Cluster;

/** Connection options besides the URL. */
export interface RedisTransport {
  /** Path of the authority's certificate, PEM; the system's unless given. */
  readonly caFile?: string | undefined;
}

/**
 * A connection to Redis. While it is unavailable a command fails within a second instead of waiting:
 * cache readers fall back to the database, evictions are retried. A server that has become a replica is
 * left for the one that the address leads to now.
 *
 * @param url in a form of `address.ts`
 * @throws ConfigurationError when the certificate file cannot be read; TypeError for a wrong address
 */
export function createRedis(
  url: string,
  logger: Logger,
  transport: RedisTransport = {},
): RedisConnection {
  const redis = openRedis(url, transport, {
    retryAfterMs: (attempt) => Math.min(attempt * 100, 2_000),
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

/** How a connection begins, and goes on. */
interface OpeningOptions {
  /** Pause before a reconnection, in ms; null for none, which ends the connection. */
  readonly retryAfterMs: (attempt: number) => number | null;
  /** Whether it waits for `connect()`. */
  readonly lazyConnect?: boolean;
}

/** A connection without listeners. @throws ConfigurationError, TypeError: see {@link createRedis} */
export function openRedis(
  url: string,
  { caFile }: RedisTransport,
  { retryAfterMs, lazyConnect = false }: OpeningOptions,
): RedisConnection {
  const address = parseRedisUrl(url);
  const tls = address.tls ? tlsOptions(caFile) : undefined;
  const options = {
    ...perConnection,
    ...(tls === undefined ? {} : { tls }),
    lazyConnect,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    retryStrategy: retryAfterMs,
  };
  switch (address.kind) {
    case 'single':
      return new Redis(address.url, options);
    case 'sentinel':
      return new Redis({
        ...options,
        ...given(address.credentials),
        sentinels: [...address.nodes],
        name: address.name,
        ...(tls === undefined ? {} : { sentinelTLS: tls, enableTLSForSentinelMode: true }),
        ...given({
          sentinelUsername: address.sentinelCredentials.username,
          sentinelPassword: address.sentinelCredentials.password,
        }),
        sentinelCommandTimeout: commandTimeoutMs,
        sentinelRetryStrategy: retryAfterMs,
        // Sentinels tell of a failover; otherwise only the end of the connection would.
        failoverDetector: true,
      });
    case 'cluster':
      return new Cluster([...address.nodes], {
        // Each node's own options; the cluster decides when to ask which node again.
        redisOptions: { ...perConnection, ...given(address.credentials), ...(tls ? { tls } : {}) },
        lazyConnect,
        enableOfflineQueue: false,
        clusterRetryStrategy: retryAfterMs,
        slotsRefreshTimeout: commandTimeoutMs,
        // Certificates name hosts, not addresses.
        ...(tls === undefined ? {} : { dnsLookup: keepName }),
      });
  }
}

const commandTimeoutMs = 1_000;

const perConnection = {
  commandTimeout: commandTimeoutMs,
  connectTimeout: 2_000,
  // A socket that says nothing for so long while a command waits is half-open: it is dropped.
  socketTimeout: 2 * commandTimeoutMs,
  // What was the master when we connected is a replica now. Scripts wrap the code in their own message.
  reconnectOnError: (error: Error) => /\b(READONLY|MASTERDOWN)\b/.test(error.message),
};

function tlsOptions(caFile: string | undefined): ConnectionOptions {
  return caFile === undefined ? {} : { ca: readCertificateFile('REDIS_TLS_CA_FILE', caFile) };
}

/** Without what is undefined, which would replace the defaults. */
function given<Options extends object>(
  options: Options,
): {
  [Name in keyof Options]?: Exclude<Options[Name], undefined>;
} {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as ReturnType<typeof given<Options>>;
}

function keepName(host: string, found: (error: null, address: string) => void): void {
  found(null, host);
}
