/**
 * An unavailable topic is named and blocks no other; new partitions are read; a stopped broker is
 * detected.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { migrateTopics } from '../../migrations/migrate';
import { partitionsPerTopic } from '../../events/topics';
import { createLogger } from '../../platform/observability/logger';
import { foreignEvent, messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type ProcessName, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const processes: ProcessName[] = ['api', 'bridge', 'worker:commerce', 'worker:collector'];
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(processes);
}, 150_000);

afterAll(() => stack?.stop());

interface Readiness {
  readonly status: string;
  readonly dependencies: Record<string, { readonly status: string; readonly reason?: string }>;
}

async function readinessOf(name: ProcessName): Promise<Readiness> {
  const answer = await fetch(`${stack.running(name)[0]!.url}/readyz`);
  return (await answer.json()) as Readiness;
}

async function isHandled(eventId: string): Promise<boolean> {
  const { rowCount } = await stack.pool.query(
    'SELECT FROM collector.event_handled WHERE event_id = $1',
    [eventId],
  );
  return rowCount === 1;
}

async function withAdmin<T>(
  work: (admin: ReturnType<Stack['kafka']['admin']>) => Promise<T>,
): Promise<T> {
  const admin = stack.kafka.admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

function paymentFailed() {
  const orderId = `order-of-${Date.now()}`;
  const data = { orderId, amount: 100, reason: 'declined' };
  return foreignEvent('PaymentFailed', orderId, data);
}

test('a topic that is deleted is named, holds the other one up nowhere, and is read again when it is back', async () => {
  await until('all are ready', async () => {
    const all = await Promise.all(processes.map(readinessOf));
    return all.every(({ status }) => status === 'ready');
  });
  const body = { name: 'a lamp', price: 1_000, stock: 5 };
  const { productId } = (await stack.call('POST', '/v1/products', { body })).body;
  await withAdmin((admin) => admin.deleteTopics({ topics: ['order-events'] }));
  for (const name of processes) {
    const { status } = await until(`${name} names the topic`, async () => {
      const readiness = await readinessOf(name);
      return readiness.dependencies['topics']?.reason?.includes('order-events does not exist')
        ? readiness
        : undefined;
    });
    expect({ name, status }).toEqual({ name, status: 'degraded' });
  }

  // It writes events of both topics, in one transaction.
  const order = { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' };
  const placed = await stack.call('POST', '/v1/orders', {
    as: 'shopper',
    userId: 'ann',
    body: order,
    idempotencyKey: 'one-topic-away',
  });
  expect(placed.status).toBe(201);
  await until('the event of the stock is handled', async () => {
    const { rows } = await stack.pool.query(
      `SELECT FROM collector.event_handled JOIN collector.event_log USING (event_id)
       WHERE type = 'StockAdjusted' AND aggregate_id = $1`,
      [productId],
    );
    return rows.length > 0;
  });

  await migrateTopics(stack.kafka, createLogger('test', 'silent'));
  const failed = paymentFailed();
  await until('the topic takes messages', () =>
    produce(stack.kafka, 'order-events', [messageOf(failed)]),
  );
  await until('an event of the topic is handled', () => isHandled(failed.id));
  await until(
    'what waited for the topic is handled, too',
    async () => {
      const { rows } = await stack.pool.query<{ waiting: number }>(
        `SELECT count(*)::int AS waiting FROM commerce.outbox
         LEFT JOIN collector.event_handled USING (event_id) WHERE event_handled IS NULL`,
      );
      return rows[0]?.waiting === 0;
    },
    { timeoutMs: 90_000 },
  );
  await until('all are ready', async () => {
    const all = await Promise.all(processes.map(readinessOf));
    return all.every(({ status }) => status === 'ready');
  });
}, 240_000);

test('partitions that are added to a topic are read within 30 s', async () => {
  const added = { topic: 'catalog-events', count: partitionsPerTopic + 1 };
  await withAdmin((admin) => admin.createPartitions({ topicPartitions: [added] }));
  const event = viewed('tea');
  const message = { ...messageOf(event), partition: partitionsPerTopic };
  await until('the partition takes messages', () =>
    produce(stack.kafka, 'catalog-events', [message]),
  );
  await until('its event is handled', () => isHandled(event.id));
}, 90_000);

test('without traffic a stopped broker is seen within 15 s, and so is its return', async () => {
  const senders: ProcessName[] = ['api', 'worker:commerce', 'worker:collector'];
  const untilAll = (status: string) =>
    until(
      `Kafka is ${status} for all`,
      async () => {
        const all = await Promise.all(senders.map(readinessOf));
        return all.every(({ dependencies }) => dependencies['kafka']?.status === status);
      },
      { timeoutMs: 15_000 },
    );
  await untilAll('up');
  // Views and relays that are under way end, so that nothing but the watch can notice.
  await sleep(1_000);
  await stack.cluster.stop('kafka');
  try {
    await untilAll('down');
  } finally {
    await stack.cluster.start('kafka');
  }
  await untilAll('up');
}, 120_000);
