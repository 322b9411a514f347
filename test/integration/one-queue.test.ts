/** Batches of all partitions: with poison in the middle, and in the hands of a worker that is killed. */
import { randomUUID } from 'node:crypto';
import type { Message } from 'kafkajs';
import { eventTopics, partitionsPerTopic, type EventTopic } from '../../events/topics';
import { foreignEvent, messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;
const coalescing = { BRIDGE_MODE: 'coalesce' };

beforeAll(async () => {
  stack = await createStack([]);
});

afterAll(() => stack?.stop());

/** So many messages for each partition of each topic, which all count for `productId`. */
async function fillPartitions(
  count: number,
  productId: string,
  alter: (message: Message, index: number) => Message = (message) => message,
): Promise<void> {
  const eventOf: Readonly<Record<EventTopic, () => ReturnType<typeof viewed>>> = {
    'catalog-events': () => viewed(productId),
    'order-events': () => confirmed(productId),
  };
  for (const topic of eventTopics) {
    const messages = Array.from({ length: partitionsPerTopic }, (_, partition) =>
      Array.from({ length: count }, (_each, index) => ({
        ...alter(messageOf(eventOf[topic]()), index),
        partition,
      })),
    );
    await produce(stack.kafka, topic, messages.flat());
  }
}

function confirmed(productId: string) {
  const orderId = randomUUID();
  const items = [{ productId, quantity: 1, unitPrice: 100 }];
  return foreignEvent('OrderConfirmed', orderId, {
    ...{ orderId, userId: 'user-1', items, totalAmount: 100 },
  });
}

/** What has been counted for a product: a view for each event of the catalog, a sale for each order. */
async function counted(productId: string): Promise<{ views: number; sales: number }> {
  const { rows } = await stack.pool.query<{ views: number; sales: number }>(
    'SELECT view_count AS views, sales_count AS sales FROM collector.product_metrics WHERE product_id = $1',
    [productId],
  );
  return rows[0] ?? { views: 0, sales: 0 };
}

test('poison in the middle of every partition: the other events of a batch over both topics count once', async () => {
  const each = 170;
  await fillPartitions(each, 'beside-poison', (message, index) =>
    index === each / 2 ? { ...message, value: 'poison' } : message,
  );
  const partitions = eventTopics.length * partitionsPerTopic;
  const processes = await Promise.all([
    stack.start('worker:collector'),
    stack.start('bridge', { ...coalescing, BRIDGE_MAX_IN_FLIGHT: '1' }),
  ]);
  const expected = (each - 1) * partitionsPerTopic;
  await until(
    'all are handled or parked',
    async () => {
      expect(await counted('beside-poison')).toEqual({ views: expected, sales: expected });
      const { rowCount } = await stack.pool.query('SELECT FROM collector.dead_letters');
      return rowCount === partitions;
    },
    { timeoutMs: 60_000 },
  );
  const { rows } = await stack.pool.query<{ partitions: number }>(`
    SELECT count(DISTINCT (topic, partition))::int AS partitions
    FROM collector.event_handled JOIN collector.event_log USING (event_id)
    GROUP BY workflow_id ORDER BY 1 DESC LIMIT 1`);
  // How many a first fetch brings is the broker's affair; more than a topic has are of both topics.
  expect(rows[0]!.partitions).toBeGreaterThan(partitionsPerTopic);
  await Promise.all(processes.map((process) => process.end()));
}, 120_000);

test('a worker killed with three batches of 2,000 in its hands: another one counts each event once', async () => {
  const each = 600;
  await fillPartitions(each, 'of-the-killed');
  const doomed = await stack.start('worker:collector');
  const database = await stack.pool.connect();
  try {
    // The log takes the events, and counting them waits.
    await database.query('BEGIN');
    // However long a busy machine takes to fill the batches.
    await database.query('SET LOCAL idle_in_transaction_session_timeout = 0');
    await database.query('LOCK TABLE collector.event_handled IN SHARE MODE');
    const bridge = await stack.start('bridge', { ...coalescing, BRIDGE_MAX_IN_FLIGHT: '3' });
    await until(
      'three batches are logged, and none is counted',
      async () => {
        const { rows } = await stack.pool.query<{ waiting: number }>(`
          SELECT count(*)::int AS waiting FROM pg_stat_activity
          WHERE query LIKE '%metrics-update%' AND wait_event_type = 'Lock'`);
        return rows[0]!.waiting === 3;
      },
      { timeoutMs: 60_000 },
    );
    expect(await countLogged('of-the-killed')).toBeGreaterThan(3_000);
    expect(await counted('of-the-killed')).toEqual({ views: 0, sales: 0 });
    const killedAt = performance.now();
    await doomed.end('SIGKILL');
    await database.query('ROLLBACK');
    const next = await stack.start('worker:collector');
    const expected = each * partitionsPerTopic;
    await until(
      'all are counted',
      async () => {
        const { views, sales } = await counted('of-the-killed');
        return views + sales === 2 * expected;
      },
      { timeoutMs: 90_000 },
    );
    const seconds = (performance.now() - killedAt) / 1_000;
    console.info(`all counted ${seconds.toFixed(1)} s after the worker was killed`);
    expect(await counted('of-the-killed')).toEqual({ views: expected, sales: expected });
    await Promise.all([bridge.end(), next.end()]);
  } finally {
    database.release();
  }
}, 240_000);

async function countLogged(productId: string): Promise<number> {
  const { rows } = await stack.pool.query<{ logged: number }>(
    `SELECT count(*)::int AS logged FROM collector.event_log
    WHERE payload -> 'data' ->> 'productId' = $1
      OR payload -> 'data' -> 'items' -> 0 ->> 'productId' = $1`,
    [productId],
  );
  return rows[0]!.logged;
}
