import { randomUUID } from 'node:crypto';
import type { EventOf } from '../../events/envelope';
import { createStack, type ApiAnswer, type ProcessName, type Stack } from '../../testkit/stack';
import { readTopic } from '../../testkit/topic-reader';
import { until } from '../../testkit/until';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api', 'bridge', 'worker:commerce', 'worker:collector']);
}, 90_000);

afterAll(() => stack.stop());

async function registerProduct(stock: number): Promise<string> {
  const body = { name: 'a lamp', price: 1_000, stock };
  const answer = await stack.call('POST', '/v1/products', { body });
  expect(answer.status).toBe(201);
  return (answer.body as { productId: string }).productId;
}

function adjust(productId: string, delta: number, idempotencyKey = randomUUID()) {
  const route = `/v1/products/${productId}/stock-adjustments`;
  return stack.call('POST', route, { body: { delta, reason: 'restock' }, idempotencyKey });
}

/** Sends until there is an answer, always under the same key: as a client does that wants one. */
function adjustUntilAnswered(productId: string, delta: number): Promise<ApiAnswer> {
  const key = randomUUID();
  return until(
    'the adjustment is answered',
    async () => {
      const answer = await adjust(productId, delta, key);
      return answer.status === 201 ? answer : undefined;
    },
    { timeoutMs: 90_000, pollMs: 250 },
  );
}

async function loggedAdjustments(productIds: readonly string[]) {
  const { rows } = await stack.pool.query<{ event_id: string }>(
    `SELECT event_id FROM collector.event_log WHERE type = 'StockAdjusted' AND aggregate_id = ANY($1)`,
    [productIds],
  );
  return rows.map(({ event_id }) => event_id);
}

test('a change of stock over HTTP travels to the log, the metrics and the cache', async () => {
  const productId = await registerProduct(3);
  const detail = `/v1/products/${productId}`;
  const reader = { as: 'shopper', userId: 'user-1' } as const;
  expect((await stack.call('GET', detail, reader)).headers.get('x-cache')).toBe('miss');
  const cached = await stack.call('GET', detail, reader);
  expect(cached.headers.get('x-cache')).toBe('hit');
  expect(cached.body).toMatchObject({ productId, soldOut: false });

  const answer = await adjust(productId, -3);
  expect(answer.status).toBe(201);
  expect(answer.body).toMatchObject({ stock: 0, version: 2 });
  await until('the sold out product is shown', async () => {
    const { body } = await stack.call('GET', detail, reader);
    return (body as { soldOut: boolean }).soldOut;
  });
  const { eventId } = answer.body as { eventId: string };
  // Counted and evicted side by side: either may be first.
  const handled = await until('the event is handled', async () => {
    const { rows } = await stack.pool.query<{ workflow_id: string }>(
      'SELECT workflow_id FROM collector.event_handled WHERE event_id = $1',
      [eventId],
    );
    return rows[0];
  });
  expect(handled).toEqual({ workflow_id: eventId });
  await until('the views are counted', async () => {
    const metrics = await stack.pool.query<{ view_count: number; stock: number }>(
      'SELECT view_count, stock FROM collector.product_metrics WHERE product_id = $1',
      [productId],
    );
    return metrics.rows[0]?.stock === 0 && metrics.rows[0].view_count >= 3;
  });
});

test('with Kafka stopped a change of stock is still taken, and its event arrives when Kafka is back', async () => {
  const productId = await registerProduct(10);
  await stack.cluster.stop('kafka');
  try {
    const answer = await adjust(productId, -4);
    expect(answer.status).toBe(201);
    const { rows } = await stack.pool.query(
      'SELECT published_at FROM commerce.outbox WHERE event_id = $1',
      [(answer.body as { eventId: string }).eventId],
    );
    expect(rows).toEqual([{ published_at: null }]);
  } finally {
    await stack.cluster.start('kafka');
  }
  await until(
    'the event is logged',
    async () => (await loggedAdjustments([productId])).length === 1,
    {
      timeoutMs: 60_000,
    },
  );
}, 120_000);

test('200 adjustments survive kill -9 of every process, each once and in order', async () => {
  const productIds = await Promise.all(Array.from({ length: 5 }, () => registerProduct(0)));
  const adjustments = Array.from({ length: 200 }, (_, index) => productIds[index % 5]!);
  const victims: ProcessName[] = ['bridge', 'worker:commerce', 'worker:collector', 'api'];
  let answered = 0;

  const clients = Array.from({ length: 8 }, async () => {
    for (let next = adjustments.pop(); next !== undefined; next = adjustments.pop()) {
      await adjustUntilAnswered(next, 1);
      answered += 1;
    }
  });
  const killer = (async () => {
    for (const [turn, victim] of victims.entries()) {
      await until(`${(turn + 1) * 35} are answered`, () => answered >= (turn + 1) * 35, {
        timeoutMs: 120_000,
      });
      const [running] = stack.running(victim);
      await running!.end('SIGKILL');
      await stack.start(victim);
    }
  })();
  await Promise.all([...clients, killer]);

  const logged = await until(
    'all are logged',
    async () => {
      const ids = await loggedAdjustments(productIds);
      return ids.length >= 200 ? ids : undefined;
    },
    { timeoutMs: 60_000 },
  );
  expect(logged).toHaveLength(200);
  const { rows } = await stack.pool.query(
    'SELECT stock, stock_version FROM commerce.products WHERE product_id = ANY($1)',
    [productIds],
  );
  expect(rows).toEqual(productIds.map(() => ({ stock: 40, stock_version: 41 })));

  const seen = new Set<string>();
  const versions = new Map<string, number[]>();
  for (const { key, value } of await readTopic(stack.kafka, 'catalog-events')) {
    const event = JSON.parse(value) as EventOf<'StockAdjusted'>;
    if (event.type !== 'StockAdjusted' || !productIds.includes(key) || seen.has(event.id)) continue;
    seen.add(event.id);
    versions.set(key, [...(versions.get(key) ?? []), event.data.version]);
  }
  const inOrder = Array.from({ length: 40 }, (_, index) => index + 2);
  expect([...versions.values()]).toEqual(productIds.map(() => inOrder));
  await until('the metrics show the final stock', async () => {
    const metrics = await stack.pool.query(
      'SELECT stock FROM collector.product_metrics WHERE product_id = ANY($1) AND stock = 40',
      [productIds],
    );
    return metrics.rowCount === 5;
  });
}, 240_000);
