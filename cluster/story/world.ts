/** What the steps of the story read: the shop's API, and the systems behind it. */
import { once } from 'node:events';
import type { Client as TemporalClient } from '@temporalio/client';
import type { Pool } from 'pg';
import type { Config } from '../../platform/process/config';
import { createKafka, type KafkaClient } from '../../platform/kafka/client';
import { createLogger, type Logger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { createRedis, type RedisConnection } from '../../platform/redis/client';
import { createTemporalClient } from '../../platform/temporal/client';
import type { Cluster } from '../local-cluster';
import type { Page } from './page';
import { createShop, type Shop } from './shop';

export interface StoryOptions {
  readonly apiUrl: string;
  /** The configuration of the processes. */
  readonly config: Config;
  /** What that configuration is read from. */
  readonly environment: Readonly<Record<string, string>>;
  /** The servers, one of which is stopped for a moment. */
  readonly cluster: Pick<Cluster, 'start' | 'stop'>;
  readonly page: Page;
  /** Aborts the story. */
  readonly signal: AbortSignal;
}

/** Everything that a step may use. */
export interface World extends StoryOptions {
  readonly shop: Shop;
  readonly pool: Pool;
  readonly redis: RedisConnection;
  readonly kafka: KafkaClient;
  readonly temporal: TemporalClient;
  readonly logger: Logger;
}

/** Connects to everything, runs `work`, and disconnects. */
export async function withWorld<Result>(
  options: StoryOptions,
  work: (world: World) => Promise<Result>,
): Promise<Result> {
  const { config } = options;
  const logger = createLogger('story', 'error');
  const pool = createPool(config.DATABASE_URL, logger, { applicationName: 'story' });
  const redis = createRedis(config.REDIS_URL, logger);
  const kafka = createKafka(config, logger, { clientId: 'story' });
  const temporal = createTemporalClient(config);
  try {
    if (redis.status !== 'ready') await once(redis, 'ready', { signal: options.signal });
    return await work({
      ...options,
      shop: createShop(options),
      pool,
      redis,
      kafka,
      temporal,
      logger,
    });
  } finally {
    redis.disconnect();
    await Promise.all([pool.end(), temporal.connection.close()]);
  }
}
