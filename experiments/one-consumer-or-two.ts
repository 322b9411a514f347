/**
 * One consumer for eviction and metrics, or a group for each? Redis is unavailable while events
 * arrive; the question is whether the metrics, which do not need it, are updated.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Consumer } from 'kafkajs';
import { messageOf, produce, stockAdjusted } from '../testkit/foreign-producer';
import { createStack, type Stack } from '../testkit/stack';
import { until } from '../testkit/until';
import type { Experiment } from './experiment';

const changes = 100;
const awayMs = 30_000;

export const oneConsumerOrTwo: Experiment = {
  name: 'one-consumer-or-two',
  question: 'Redis is away. Do the metrics, which do not need it, go on?',
  columns: [
    'design',
    'events',
    `in the metrics after ${awayMs / 1_000} s without Redis`,
    'times the topic is read',
  ],
  async run() {
    const rows = [];
    for (const [name, consume] of Object.entries(designs)) {
      rows.push([name, changes, ...(await whileRedisIsAway(consume))]);
    }
    return {
      rows,
      remarks: [
        'Each event makes a product available again that was sold out, so each must evict.',
        'One consumer: one handler does both, eviction first, and tries again until it succeeds.',
        'Once Redis is back, each design counts and evicts all of them; that is waited for.',
      ],
    };
  },
};

/** Begins to consume. @returns how often the topic is read, and how to end */
type Consume = (stack: Stack) => Promise<{ groups: number; stop(): Promise<void> }>;

const designs: Readonly<Record<string, Consume>> = {
  'one consumer does both': async (stack) => {
    const redis = impatientRedis(stack);
    const consumer = await consumeEach(stack, async (productId) => {
      await evict(redis, productId);
      await count(stack, productId);
    });
    return { groups: 1, stop: () => stopAll(redis, [consumer]) };
  },

  'a consumer group for each': async (stack) => {
    const redis = impatientRedis(stack);
    const consumers = await Promise.all([
      consumeEach(stack, (productId) => evict(redis, productId)),
      consumeEach(stack, (productId) => count(stack, productId)),
    ]);
    return { groups: 2, stop: () => stopAll(redis, consumers) };
  },

  'one group, a workflow with an activity for each (ours)': async (stack) => {
    await stack.start('worker:collector');
    await stack.start('bridge');
    return { groups: 1, stop: () => Promise.resolve() };
  },
};

async function stopAll(redis: Redis, consumers: readonly Consumer[]): Promise<void> {
  await Promise.all(consumers.map((consumer) => consumer.disconnect()));
  redis.disconnect();
}

async function whileRedisIsAway(consume: Consume): Promise<[counted: number, timesRead: number]> {
  const stack = await createStack([]);
  try {
    await stack.pool.query('CREATE TABLE plain_metrics (product_id text PRIMARY KEY)');
    const products = Array.from({ length: changes }, () => randomUUID());
    for (const id of products) await stack.redis.set(`product:${id}`, 'sold out');
    const { groups, stop } = await consume(stack);
    // It has joined its group before there is anything to do.
    await sleep(5_000);
    await stack.cluster.stop('redis');
    await produce(
      stack.kafka,
      'catalog-events',
      products.map((id) => messageOf(stockAdjusted(id, 2, 5, 0))),
    );
    await sleep(awayMs);
    const meanwhile = await countCounted(stack);
    await stack.cluster.start('redis');
    await until('all is counted', async () => (await countCounted(stack)) === changes, {
      timeoutMs: 60_000,
    });
    await until('all is evicted', async () => (await countCached(stack, products)) === 0, {
      timeoutMs: 60_000,
    });
    await stop();
    return [meanwhile, groups];
  } finally {
    await stack.stop();
  }
}

/** Fails fast while Redis is unavailable, for a handler with its own retries. */
function impatientRedis({ config }: Stack): Redis {
  const redis = new Redis(config.REDIS_URL, { enableOfflineQueue: false, maxRetriesPerRequest: 0 });
  redis.on('error', () => undefined);
  return redis;
}

async function consumeEach(
  { kafka }: Stack,
  handle: (productId: string) => Promise<void>,
): Promise<Consumer> {
  const consumer = kafka.consumer({ groupId: randomUUID() });
  await consumer.connect();
  await consumer.subscribe({ topic: 'catalog-events', fromBeginning: true });
  await consumer.run({
    eachMessage: ({ message, heartbeat }) =>
      untilItSucceeds(() => handle(message.key!.toString()), heartbeat),
  });
  return consumer;
}

async function untilItSucceeds(
  work: () => Promise<void>,
  heartbeat: () => Promise<void>,
): Promise<void> {
  for (;;) {
    try {
      return await work();
    } catch {
      // Any error: the next attempt will tell, and the heartbeat keeps this member in the group.
      await heartbeat();
      await sleep(250);
    }
  }
}

async function evict(redis: Redis, productId: string): Promise<void> {
  await redis.del(`product:${productId}`);
}

async function count({ pool }: Stack, productId: string): Promise<void> {
  await pool.query('INSERT INTO plain_metrics VALUES ($1) ON CONFLICT DO NOTHING', [productId]);
}

async function countCounted({ pool }: Stack): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(`
    SELECT ((SELECT count(*) FROM plain_metrics) + (SELECT count(*) FROM collector.product_metrics))::int
      AS count`);
  return rows[0]!.count;
}

async function countCached({ redis }: Stack, products: readonly string[]): Promise<number> {
  return redis.exists(products.map((id) => `product:${id}`));
}
