/**
 * An order's changes while others change the same rows: each is one statement, and a statement sees what was
 * committed before it began. What it waits for behind a lock is another matter, which is tried here.
 */
import { randomUUID } from 'node:crypto';
import { Client, type PoolClient } from 'pg';
import { createOrderActivities } from '../../activities/commerce/orders';
import { createProductActivities } from '../../activities/commerce/products';
import { createPublishActivities } from '../../activities/commerce/publish';
import { createStockActivities } from '../../activities/commerce/stock';
import { appendToOutbox } from '../../activities/commerce/outbox';
import { parseEvent } from '../../events/parse';
import { createEvent, type Event, type NewEvent } from '../../events/envelope';
import { orderEventId, orderStockEventId, type OrderEventType } from '../../events/orders';
import type { EventData } from '../../events/schemas';
import type { KafkaSender, OutgoingMessage } from '../../platform/kafka/sender';
import { createLogger } from '../../platform/observability/logger';
import { createPool, inTransaction } from '../../platform/postgres/pool';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

type Shop = ReturnType<typeof createOrderActivities> &
  ReturnType<typeof createProductActivities> &
  ReturnType<typeof createStockActivities> &
  ReturnType<typeof createPublishActivities>;

const applicationName = 'test-order-statements';
const price = 700;
let stack: Stack;
let pool: ReturnType<typeof createPool>;
let shop: Shop;

beforeAll(async () => {
  stack = await createStack([]);
  pool = createPool(stack.config.DATABASE_URL, createLogger('test', 'fatal'), {
    applicationName,
    role: 'commerce_shop',
    maxConnections: 8,
  });
  let offset = 0;
  const sender = {
    isConnected: () => true,
    send: async (messages: readonly OutgoingMessage[]) =>
      messages.map(() => ({ partition: 0, offset: String((offset += 1)) })),
  } as unknown as KafkaSender;
  shop = {
    ...createOrderActivities({ pool }),
    ...createProductActivities({ pool }),
    ...createStockActivities({ pool }),
    ...createPublishActivities({ relayPool: pool, sender }),
  };
});

afterAll(async () => {
  await pool?.end();
  await stack?.stop();
});

async function register(stock: number): Promise<string> {
  const productId = randomUUID();
  await shop.createProduct({ productId, name: 'Kettle', price, stock });
  return productId;
}

function place(orderId: string, ...productIds: string[]) {
  const items = productIds.map((productId) => ({ productId, quantity: 1 }));
  return shop.reserveStock(orderId, { userId: 'ann', items, paymentToken: 'tok_approve' });
}

function cancel(orderId: string, reason = 'changed my mind') {
  const payment = { status: 'refunded', reason, paymentId: 'payment-1' } as const;
  return shop.cancelOrder(orderId, { cause: 'requested', reason }, payment);
}

/** Runs `work` while a transaction of somebody else is open, which is committed once that many wait for it. */
async function behind<T>(
  change: (connection: PoolClient) => Promise<unknown>,
  waiting: number,
  work: () => Promise<T>,
): Promise<T> {
  let working: Promise<T> | undefined;
  await inTransaction(stack.pool, async (connection) => {
    await change(connection);
    working = work();
    working.catch(() => undefined);
    await until(`${waiting} wait for a lock`, async () => {
      const { rows } = await stack.pool.query<{ count: number }>(
        `SELECT count(*) FROM pg_stat_activity
         WHERE application_name = $1 AND wait_event_type = 'Lock'`,
        [applicationName],
      );
      return rows[0]!.count === waiting;
    });
  });
  return working!;
}

const setStock = (productId: string, stock: number) => (connection: PoolClient) =>
  connection.query(
    `UPDATE commerce.products SET stock = $2, stock_version = stock_version + 1
     WHERE product_id = $1`,
    [productId, stock],
  );

const holdOrder = (orderId: string) => (connection: PoolClient) =>
  connection.query('SELECT FROM commerce.orders WHERE order_id = $1 FOR UPDATE', [orderId]);

async function stockOf(productId: string): Promise<{ stock: number; version: number }> {
  const { rows } = await stack.pool.query<{ stock: number; version: number }>(
    'SELECT stock, stock_version AS version FROM commerce.products WHERE product_id = $1',
    [productId],
  );
  return rows[0]!;
}

/** The events of aggregates in the order of their commits; each is what its schema says. */
async function eventsOf(...keys: string[]): Promise<Event[]> {
  const { rows } = await stack.pool.query<{ payload: object }>(
    'SELECT payload FROM commerce.outbox WHERE key = ANY($1) ORDER BY sequence',
    [keys],
  );
  return rows.map(({ payload }) => parseEvent(Buffer.from(JSON.stringify(payload))));
}

async function typesOf(orderId: string): Promise<string[]> {
  return (await eventsOf(orderId)).map(({ type }) => type);
}

/** Counts what the activities send to PostgreSQL. */
async function statementsOf(work: () => Promise<unknown>): Promise<number> {
  const query = jest.spyOn(Client.prototype, 'query');
  try {
    await work();
    return query.mock.calls.length;
  } finally {
    query.mockRestore();
  }
}

test('an order costs six statements until its events are sent, and its cancellation two', async () => {
  const productId = await register(5);
  const orderId = randomUUID();
  const aggregates = [
    { topic: 'order-events', key: orderId },
    { topic: 'catalog-events', key: productId },
  ] as const;
  expect(await statementsOf(() => place(orderId, productId))).toBe(1);
  expect(await statementsOf(() => shop.confirmOrder(orderId, 'payment-1'))).toBe(1);
  expect(await statementsOf(() => shop.publishOutbox(aggregates))).toBe(4);
  expect(await statementsOf(() => cancel(orderId))).toBe(2);
});

test('the events of an order tell all that was stored of it', async () => {
  const [first, second] = [await register(5), await register(7)];
  const orderId = randomUUID();
  const items = [second, first].map((productId) => ({ productId, quantity: 2 }));
  const placed = await shop.reserveStock(orderId, { userId: 'ann', items, paymentToken: 'tok' });
  const totalAmount = 4 * price;
  expect(placed).toMatchObject({ kind: 'order', status: 'PLACED', totalAmount });
  expect(placed).toEqual(await shop.findOrder(orderId));
  await shop.confirmOrder(orderId, 'payment-1');
  await cancel(orderId);

  const lines = items.map((item) => ({ ...item, unitPrice: price }));
  const sorted = lines.toSorted((a, b) => (a.productId < b.productId ? -1 : 1));
  const events = await eventsOf(orderId);
  expect(events.map(({ type, data }) => ({ type, data }))).toEqual([
    { type: 'OrderPlaced', data: { orderId, userId: 'ann', items: lines, totalAmount } },
    { type: 'PaymentCompleted', data: { orderId, paymentId: 'payment-1', amount: totalAmount } },
    { type: 'OrderConfirmed', data: { orderId, userId: 'ann', items: sorted, totalAmount } },
    {
      type: 'OrderCancelled',
      data: {
        orderId,
        userId: 'ann',
        items: sorted,
        reason: 'changed my mind',
        wasConfirmed: true,
      },
    },
  ]);
  const [, reserved, released] = await eventsOf(first);
  expect(reserved?.data).toEqual({
    ...{ productId: first, orderId, reason: 'order' },
    ...{ delta: -2, previousStock: 5, stock: 3, version: 2 },
  });
  expect(released?.data).toEqual({
    ...{ productId: first, orderId, reason: 'order-cancelled' },
    ...{ delta: 2, previousStock: 3, stock: 5, version: 3 },
  });
});

describe('an order that waits for a product', () => {
  test('is refused by the stock that is left when its turn comes, for good', async () => {
    const productId = await register(5);
    const orderId = randomUUID();
    const refused = { kind: 'out-of-stock', productId, stock: 0 };
    expect(await behind(setStock(productId, 0), 1, () => place(orderId, productId))).toEqual(
      refused,
    );
    await setStock(productId, 5)(stack.pool as unknown as PoolClient);
    expect(await place(orderId, productId)).toEqual(refused);
    expect(await eventsOf(orderId)).toEqual([]);
  });

  test('takes what has come in meanwhile, and its event counts on from there', async () => {
    const productId = await register(0);
    const orderId = randomUUID();
    const placed = await behind(setStock(productId, 9), 1, () => place(orderId, productId));
    expect(placed).toMatchObject({ status: 'PLACED' });
    expect(await stockOf(productId)).toEqual({ stock: 8, version: 3 });
    expect((await eventsOf(productId)).at(-1)?.data).toMatchObject({
      ...{ previousStock: 9, stock: 8, version: 3 },
    });
  });

  test('and is asked for twice at once takes the last unit once, and is refused to nobody', async () => {
    const productId = await register(1);
    const orderId = randomUUID();
    const answers = await behind(setStock(productId, 1), 2, () =>
      Promise.all([place(orderId, productId), place(orderId, productId)]),
    );
    expect(answers[0]).toMatchObject({ status: 'PLACED' });
    expect(answers[1]).toEqual(answers[0]);
    expect(await stockOf(productId)).toMatchObject({ stock: 0 });
    expect(await typesOf(orderId)).toEqual(['OrderPlaced']);
  });
});

describe('an order that is decided twice at once', () => {
  test('is confirmed once', async () => {
    const orderId = randomUUID();
    await place(orderId, await register(1));
    const statuses = await behind(holdOrder(orderId), 2, () =>
      Promise.all(['payment-1', 'payment-2'].map((id) => shop.confirmOrder(orderId, id))),
    );
    expect(statuses).toEqual(['CONFIRMED', 'CONFIRMED']);
    expect(await typesOf(orderId)).toEqual(['OrderPlaced', 'PaymentCompleted', 'OrderConfirmed']);
  });

  test('is cancelled once, for one reason, and releases its stock once', async () => {
    const productId = await register(1);
    const orderId = randomUUID();
    await place(orderId, productId);
    const reasons = await behind(holdOrder(orderId), 2, () =>
      Promise.all(['first', 'second'].map((reason) => cancel(orderId, reason))),
    );
    expect(reasons[0]).toEqual(reasons[1]);
    expect(await stockOf(productId)).toMatchObject({ stock: 1 });
    expect(await typesOf(orderId)).toEqual(['OrderPlaced', 'PaymentFailed', 'OrderCancelled']);
  });

  test('is confirmed and then cancelled, or only cancelled, and each says what it came to', async () => {
    for (let round = 0; round < 10; round += 1) {
      const productId = await register(1);
      const orderId = randomUUID();
      await place(orderId, productId);
      const [status] = await behind(holdOrder(orderId), 2, () =>
        Promise.all([shop.confirmOrder(orderId, 'payment-1'), cancel(orderId)]),
      );
      const wasConfirmed = status === 'CONFIRMED';
      expect(await typesOf(orderId)).toEqual([
        'OrderPlaced',
        ...(wasConfirmed ? ['PaymentCompleted', 'OrderConfirmed'] : ['PaymentFailed']),
        'OrderCancelled',
      ]);
      expect((await eventsOf(orderId)).at(-1)?.data).toMatchObject({ wasConfirmed });
      expect(await stockOf(productId)).toMatchObject({ stock: 1 });
    }
  });

  test('and is cancelled by another is not confirmed', async () => {
    const orderId = randomUUID();
    await place(orderId, await register(1));
    const cancelling = (connection: PoolClient) =>
      connection.query(
        `UPDATE commerce.orders SET status = 'CANCELLED', cause = 'requested', reason = 'other'
         WHERE order_id = $1`,
        [orderId],
      );
    const told = await behind(cancelling, 2, () =>
      Promise.all([shop.confirmOrder(orderId, 'payment-1'), cancel(orderId)]),
    );
    expect(told).toEqual(['CANCELLED', { cause: 'requested', reason: 'other' }]);
    expect(await typesOf(orderId)).toEqual(['OrderPlaced']);
  });
});

describe('an order whose decision was told, and lost by a restore', () => {
  /** As a restore leaves the outbox: with events that Kafka has, and the shop does not. */
  const tell = (...events: Event[]) => appendToOutbox(stack.pool, events);

  function ofOrder<T extends OrderEventType>(type: T, data: EventData<T>): Event {
    const { orderId } = data as { orderId: string };
    const event: NewEvent<T> = { id: orderEventId(orderId, type), type, time: new Date(0), data };
    return createEvent(event) as Event;
  }

  async function placeOne() {
    const [productId, orderId] = [await register(5), randomUUID()];
    await place(orderId, productId);
    const items = [{ productId, quantity: 1, unitPrice: price }];
    return { productId, orderId, order: { orderId, userId: 'ann', items } };
  }

  test('is confirmed again in the words that were told', async () => {
    const { orderId, order } = await placeOne();
    await tell(
      ofOrder('PaymentCompleted', { orderId, paymentId: 'payment-1', amount: price }),
      ofOrder('OrderConfirmed', { ...order, totalAmount: price }),
    );
    const told = await eventsOf(orderId);
    expect(await shop.confirmOrder(orderId, 'payment-1')).toBe('CONFIRMED');
    expect(await eventsOf(orderId)).toEqual(told);
  });

  test('is cancelled where it was told as confirmed, and takes that back', async () => {
    const { orderId, order } = await placeOne();
    await tell(ofOrder('OrderConfirmed', { ...order, totalAmount: price }));
    await cancel(orderId);
    expect(await typesOf(orderId)).toEqual(['OrderPlaced', 'OrderConfirmed', 'OrderCancelled']);
    expect((await eventsOf(orderId)).at(-1)?.data).toMatchObject({ wasConfirmed: true });
  });

  test('is cancelled again in the words that were told, and tells the stock that it leads to now', async () => {
    const { productId, orderId, order } = await placeOne();
    const released = { orderId, productId, delta: 1, reason: 'order-cancelled' } as const;
    await tell(
      ofOrder('OrderCancelled', { ...order, reason: 'told', wasConfirmed: false }),
      createEvent({
        id: orderStockEventId(orderId, 'release', productId),
        type: 'StockAdjusted',
        time: new Date(0),
        data: { ...released, previousStock: 1, stock: 2, version: 9 },
      }),
    );
    await cancel(orderId);
    await cancel(orderId);
    expect(await typesOf(orderId)).toEqual(['OrderPlaced', 'OrderCancelled', 'PaymentFailed']);
    expect((await eventsOf(orderId))[1]?.data).toMatchObject({ reason: 'told' });
    expect(await stockOf(productId)).toEqual({ stock: 5, version: 3 });
    const last = (await eventsOf(productId)).at(-1);
    expect(last?.data).toEqual({ ...released, previousStock: 4, stock: 5, version: 3 });
    const { rows } = await stack.pool.query<{ eventId: string }>(
      `SELECT event_id AS "eventId" FROM commerce.stock_adjustments
       WHERE order_id = $1 AND reason = 'order-cancelled'`,
      [orderId],
    );
    expect(rows).toEqual([{ eventId: last?.id }]);
  });
});

test('hundreds of orders of few products, placed, confirmed, cancelled and restocked at once: every unit is counted on, and none waits for ever', async () => {
  const products = await Promise.all([register(40), register(40), register(40)]);
  const orders = Array.from({ length: 200 }, () => randomUUID());
  await Promise.all(
    orders.map(async (orderId, index) => {
      const [first, second] = [products[index % 3]!, products[(index + 1) % 3]!];
      const placed = await (index % 2 === 0
        ? place(orderId, first, second)
        : place(orderId, second, first));
      await shop.changeStock({
        adjustmentId: randomUUID(),
        productId: second,
        delta: 1,
        reason: 'restock',
      });
      if (placed.kind !== 'order') return;
      await Promise.all([
        index % 3 === 0 ? undefined : shop.confirmOrder(orderId, `payment-${index}`),
        index % 5 === 0 ? cancel(orderId) : undefined,
      ]);
    }),
  );
  for (const productId of products) {
    const events = await eventsOf(productId);
    const levels = events.map(({ data }) => data as { stock: number; version: number });
    const { rows } = await stack.pool.query<{ held: number }>(
      `SELECT coalesce(sum(quantity), 0) AS held FROM commerce.order_items
       JOIN commerce.orders USING (order_id) WHERE product_id = $1 AND status <> 'CANCELLED'`,
      [productId],
    );
    const restocked = events.filter(({ data }) => 'reason' in data && data.reason === 'restock');
    expect(levels.map(({ version }) => version)).toEqual(levels.map((_, index) => index + 1));
    for (const [index, event] of events.entries()) {
      if (event.type !== 'StockAdjusted') continue;
      const { previousStock, stock, delta } = event.data;
      expect(previousStock).toBe(levels[index - 1]!.stock);
      expect(stock).toBe(previousStock + delta);
      expect(stock).toBeGreaterThanOrEqual(0);
    }
    const stock = 40 + restocked.length - rows[0]!.held;
    expect(await stockOf(productId)).toEqual({ stock, version: levels.length });
    expect(levels.at(-1)!.stock).toBe(stock);
  }
});
