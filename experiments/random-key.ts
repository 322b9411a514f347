/**
 * What a random key would break. The stock of some products changes repeatedly, and a plain
 * consumer applies each event: once last-write-wins, once newest version wins.
 */
import { randomUUID } from 'node:crypto';
import type { Kafka } from 'kafkajs';
import { createTopics } from '../platform/kafka/client';
import { messageOf, produce, stockAdjusted } from '../testkit/foreign-producer';
import { createStack, type Stack } from '../testkit/stack';
import type { Experiment } from './experiment';

const products = Array.from({ length: 20 }, (_, index) => `product-${index}`);
const versions = 50;
const partitions = 6;

export const randomKey: Experiment = {
  name: 'random-key',
  question: 'What if the key of an event were drawn at random instead of being the aggregate’s ID?',
  columns: [
    'key',
    'changes of stock',
    'came after a newer one',
    'products wrong: last one wins',
    'products wrong: newest version wins',
  ],
  async run() {
    const stack = await createStack([]);
    try {
      const rows = [];
      for (const key of ['aggregate ID', 'random'] as const) {
        rows.push([key, products.length * versions, ...(await consumeAll(stack, key))]);
      }
      return {
        rows,
        remarks: [
          `${products.length} products, ${partitions} partitions, every change written to PostgreSQL as it comes.`,
          'A version guard repairs what is a snapshot. It cannot repair what needs every step in its order.',
        ],
      };
    } finally {
      await stack.stop();
    }
  },
};

async function consumeAll(
  stack: Stack,
  key: 'aggregate ID' | 'random',
): Promise<[late: number, wrongByLast: string, wrongByVersion: string]> {
  const topic = `stock-${randomUUID()}`;
  await createTopics(stack.kafka, [{ topic, partitions }]);
  for (let version = 1; version <= versions; version += 1) {
    const messages = products
      .map((product) => messageOf(stockAdjusted(product, version, 1_000 - version)))
      .map((message) => (key === 'random' ? { ...message, key: randomUUID() } : message));
    await produce(stack.kafka, topic, messages);
  }
  await stack.pool.query(`
    DROP TABLE IF EXISTS stock;
    CREATE TABLE stock (product_id text PRIMARY KEY, last integer, newest integer,
      newest_version integer NOT NULL DEFAULT 0, late integer NOT NULL DEFAULT 0)`);
  await consume(stack.kafka, topic, (value) => write(stack, value));
  const { rows } = await stack.pool.query<{ late: number; last: number; newest: number }>(
    `SELECT sum(late)::int AS late, count(*) FILTER (WHERE last <> $1)::int AS last,
      count(*) FILTER (WHERE newest <> $1)::int AS newest FROM stock`,
    [1_000 - versions],
  );
  const { late, last, newest } = rows[0]!;
  const ofAll = (count: number): string => `${count} of ${products.length}`;
  return [late, ofAll(last), ofAll(newest)];
}

async function write({ pool }: Stack, value: string): Promise<void> {
  const { data } = JSON.parse(value) as {
    data: { productId: string; stock: number; version: number };
  };
  await pool.query(
    `INSERT INTO stock AS old (product_id, last, newest, newest_version) VALUES ($1, $2, $2, $3)
     ON CONFLICT (product_id) DO UPDATE SET
       last = excluded.last,
       late = old.late + (old.newest_version > $3)::int,
       newest = CASE WHEN old.newest_version < $3 THEN excluded.newest ELSE old.newest END,
       newest_version = greatest(old.newest_version, $3)`,
    [data.productId, data.stock, data.version],
  );
}

async function consume(
  kafka: Kafka,
  topic: string,
  write: (value: string) => Promise<void>,
): Promise<void> {
  const consumer = kafka.consumer({ groupId: randomUUID() });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      // A set, not a counter: the producer may have sent a message twice.
      const seen = new Set<string>();
      consumer
        .run({
          partitionsConsumedConcurrently: partitions,
          async eachMessage({ message }) {
            const value = message.value!.toString();
            await write(value);
            seen.add(value);
            if (seen.size === products.length * versions) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
}
