/**
 * The baseline of the collector: a plain kafkajs consumer that applies the same effects with the
 * same statements, without Temporal. `PLAIN_CONSUMER` chooses:
 *
 *   event   one transaction for each event, as most consumers are written
 *   batch   one transaction for up to 500 events: the limit of this shape of work
 */
import type { Consumer, EachBatchPayload } from 'kafkajs';
import type { Pool } from 'pg';
import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { createCacheActivities } from '../../activities/collector/cache-eviction';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import type { ReceivedEvent } from '../../events/received';
import { eventTopics, partitionsPerTopic } from '../../events/topics';
import { createKafka } from '../../platform/kafka/client';
import { kafkajsOf } from '../../platform/kafka/kafkajs';
import { runProcess } from '../../platform/process/lifecycle';
import { createPool, inTransaction } from '../../platform/postgres/pool';
import { createProductCache } from '../../cache/product-cache';
import { createRedis } from '../../platform/redis/client';
import { receiveEvent } from '../received-event';

const sizes: Readonly<Record<string, number>> = { event: 1, batch: 500 };

type Apply = (events: readonly ReceivedEvent[]) => Promise<void>;

void runProcess('bridge', async ({ config, logger, onStop }) => {
  const size = sizes[process.env['PLAIN_CONSUMER'] ?? ''];
  if (size === undefined) throw new Error('PLAIN_CONSUMER must be event or batch.');
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'plain-consumer',
    maxConnections: 16,
  });
  onStop('the database pool', () => pool.end());
  const redis = createRedis(config.REDIS_URL, logger);
  onStop('the connection to Redis', async () => redis.disconnect());
  const { evictCache } = createCacheActivities({ cache: createProductCache(redis) });
  const apply: Apply = async (events) => {
    await inTransaction(pool, (client) => write(client as unknown as Pool, events));
    await evictCache(events);
  };
  const kafka = kafkajsOf(createKafka(config, logger, { clientId: 'plain-consumer' }));
  const consumer = kafka.consumer({ groupId: config.BRIDGE_GROUP_ID, maxWaitTimeInMs: 500 });
  onStop('the consumer', () => consumer.disconnect());
  await consume(consumer, size, apply);
  process.send?.({ ready: true });
});

// The activities only run statements on the pool; a connection can do that, too.
async function write(pool: Pool, events: readonly ReceivedEvent[]): Promise<void> {
  await createAuditLogActivities({ pool }).writeAuditLog(events);
  const eventIds = events.map(({ eventId }) => eventId);
  await createMetricsActivities({ pool }).updateMetrics({ eventIds, workflowId: 'none' });
}

async function consume(consumer: Consumer, size: number, apply: Apply): Promise<void> {
  await consumer.connect();
  await consumer.subscribe({ topics: [...eventTopics] });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    partitionsConsumedConcurrently: eventTopics.length * partitionsPerTopic,
    eachBatch: (payload) => handleBatch(payload, size, apply),
  });
}

async function handleBatch(payload: EachBatchPayload, size: number, apply: Apply): Promise<void> {
  const { batch, resolveOffset, heartbeat, commitOffsetsIfNecessary } = payload;
  const { topic, partition, messages } = batch;
  for (let from = 0; from < messages.length; from += size) {
    const slice = messages.slice(from, from + size);
    await apply(slice.map((message) => receiveEvent(topic, partition, message)));
    resolveOffset(slice.at(-1)!.offset);
    await heartbeat();
  }
  const offset = (BigInt(batch.lastOffset()) + 1n).toString();
  await commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, offset }] }] });
}
