/** Readiness probes of the servers. */
import type { Client } from '@temporalio/client';
import type { Pool } from 'pg';
import { probeTimeoutMs, type Check } from './readiness';
import type { KafkaSender } from '../kafka/sender';
import type { TopicWatch } from '../kafka/topic-watch';
import { probeWritable } from '../postgres/pool';
import type { RedisConnection } from '../redis/client';

export interface CheckOptions {
  /** Whether the process is not ready without it. */
  readonly required: boolean;
}

/** PostgreSQL answers a query, and takes writes. */
export function postgresCheck(pool: Pool, { required }: CheckOptions): Check {
  return { name: 'postgres', required, probe: () => probeWritable(pool) };
}

/** Temporal's frontend answers a client. */
export function temporalCheck(client: Client, { required }: CheckOptions): Check {
  const probe = () =>
    client.withDeadline(Date.now() + probeTimeoutMs, () =>
      client.workflowService.getSystemInfo({}),
    );
  return { name: 'temporal', required, probe };
}

/**
 * The sender is connected and the brokers answer. A connection alone proves nothing: without traffic a
 * dead broker goes unnoticed.
 */
export function kafkaSenderCheck(
  sender: KafkaSender,
  topics: TopicWatch,
  { required }: CheckOptions,
): Check {
  const probe = async (): Promise<void> => {
    if (!sender.isConnected()) throw new Error('not connected');
    if (!topics.answers()) throw new Error('does not answer');
  };
  return { name: 'kafka', required, probe };
}

/** Redis takes a write. A replica answers reads and pings. @param key may be written; it expires at once */
export function redisCheck(redis: RedisConnection, key: string, { required }: CheckOptions): Check {
  const probe = async (): Promise<void> => {
    if (redis.status !== 'ready') throw new Error('not connected');
    await redis.set(key, '', 'PX', 1);
  };
  return { name: 'redis', required, probe };
}
