/** Orders and likes on real servers: stock, money and events agree, whatever is asked at once and whatever dies. */
import { randomUUID } from 'node:crypto';
import { createCommands, UndecidedError } from '../../api/commands/temporal-commands';
import { workflowIds } from '../../events/workflow-ids';
import { createStack, type ApiAnswer, type Stack } from '../../testkit/stack';
import { readTopic } from '../../testkit/topic-reader';
import { until } from '../../testkit/until';

let stack: Stack;

beforeAll(async () => {
  // The audit needs a collector, and would find here what a test is still about.
  stack = await createStack(['api', 'worker:commerce'], {
    AUDIT_INTERVAL_MS: String(24 * 3_600_000),
  });
}, 60_000);

afterAll(() => stack?.stop());

const price = 700;

async function register(stock: number): Promise<string> {
  const body = { name: 'Kettle', price, stock };
  const answer = await stack.call('POST', '/v1/products', { body });
  expect(answer.status).toBe(201);
  return answer.body.productId as string;
}

interface Purchase {
  readonly userId?: string;
  readonly token?: string;
  readonly key?: string;
}

/** Orders one unit of each of the products. */
function order(productIds: readonly string[], purchase: Purchase = {}): Promise<ApiAnswer> {
  const { userId = 'ann', token = 'tok_approve', key } = purchase;
  const items = productIds.map((productId) => ({ productId, quantity: 1 }));
  return stack.call('POST', '/v1/orders', {
    as: 'shopper',
    userId,
    body: { items, paymentToken: token },
    ...(key === undefined ? {} : { idempotencyKey: key }),
  });
}

/** Orders, and asks on under the same key while the answer is not the final one. */
async function orderUntilDecided(
  productIds: readonly string[],
  { key = randomUUID(), ...purchase }: Purchase = {},
): Promise<ApiAnswer> {
  return until(
    'the order is decided',
    async () => {
      const answer = await order(productIds, { ...purchase, key });
      const undecided = answer.status === 202 || answer.status >= 500;
      return undecided || answer.body.code === 'REQUEST_UNDER_WAY' ? undefined : answer;
    },
    { timeoutMs: 60_000, pollMs: 200 },
  );
}

function shopper(userId: string) {
  return { as: 'shopper', userId } as const;
}

function times<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => make(index)));
}

function statusesOf(answers: readonly ApiAnswer[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

async function stockOf(productId: string): Promise<number> {
  const { rows } = await stack.pool.query<{ stock: number }>(
    'SELECT stock FROM commerce.products WHERE product_id = $1',
    [productId],
  );
  return rows[0]!.stock;
}

interface OrderRow {
  readonly order_id: string;
  readonly status: string;
  readonly total_amount: number;
}

async function ordersOf(productId: string): Promise<OrderRow[]> {
  const { rows } = await stack.pool.query<OrderRow>(
    `SELECT order_id, status, total_amount FROM commerce.orders
     JOIN commerce.order_items USING (order_id) WHERE product_id = $1`,
    [productId],
  );
  return rows;
}

interface GatewayCharge {
  readonly reference: string;
  readonly amount: number;
  readonly refundedAmount: number;
}

/** The money that the gateway holds for each order; 0 where nothing was captured. */
async function moneyHeld(orderIds: readonly string[]): Promise<number[]> {
  const response = await fetch(new URL('/v1/charges', stack.config.PAYMENT_GATEWAY_URL));
  const { charges } = (await response.json()) as { charges: GatewayCharge[] };
  return orderIds.map((orderId) =>
    charges
      .filter(({ reference }) => reference === orderId)
      .reduce((sum, { amount, refundedAmount }) => sum + amount - refundedAmount, 0),
  );
}

async function expectMoneyToEqualConfirmedOrders(orders: readonly OrderRow[]): Promise<void> {
  const held = await moneyHeld(orders.map(({ order_id }) => order_id));
  const owed = orders.map(({ status, total_amount }) =>
    status === 'CONFIRMED' ? total_amount : 0,
  );
  expect(held).toEqual(owed);
}

describe('50 shoppers order the last 20 units at once', () => {
  test('exactly 20 are confirmed, 30 are refused, and 20 payments are captured', async () => {
    const productId = await register(20);
    const answers = await times(50, (index) =>
      orderUntilDecided([productId], { userId: `shopper-${index}` }),
    );
    expect(statusesOf(answers)).toEqual({ 201: 20, 409: 30 });
    const refusal = answers.find(({ status }) => status === 409)!;
    expect(refusal.body).toMatchObject({
      code: 'OUT_OF_STOCK',
      errors: [{ field: 'items.0.quantity', message: expect.stringContaining(productId) }],
    });
    expect(await stockOf(productId)).toBe(0);
    const orders = await ordersOf(productId);
    expect(orders.map(({ status }) => status)).toEqual(Array(20).fill('CONFIRMED'));
    await expectMoneyToEqualConfirmedOrders(orders);
  });

  test('the sums agree when the worker is killed in the middle', async () => {
    const productId = await register(20);
    const answering = times(50, (index) =>
      orderUntilDecided([productId], { userId: `shopper-${index}` }),
    );
    await until('some are confirmed', async () => {
      const orders = await ordersOf(productId);
      return orders.some(({ status }) => status === 'CONFIRMED');
    });
    await stack.running('worker:commerce')[0]!.end('SIGKILL');
    await stack.start('worker:commerce');

    const statuses = statusesOf(await answering);
    const orders = await ordersOf(productId);
    const confirmed = orders.filter(({ status }) => status === 'CONFIRMED').length;
    expect(orders.filter(({ status }) => status === 'PLACED')).toEqual([]);
    expect(statuses[201]).toBe(confirmed);
    expect(statuses[201]! + (statuses[402] ?? 0) + statuses[409]!).toBe(50);
    expect((await stockOf(productId)) + confirmed).toBe(20);
    await expectMoneyToEqualConfirmedOrders(orders);
  }, 90_000);
});

test('two products are ordered in both orders at once without a deadlock', async () => {
  const products = [await register(40), await register(40)];
  const answers = await times(40, (index) =>
    orderUntilDecided(index % 2 === 0 ? products : products.toReversed()),
  );
  expect(statusesOf(answers)).toEqual({ 201: 40 });
  expect(await Promise.all(products.map(stockOf))).toEqual([0, 0]);
  const { rows } = await stack.pool.query(
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  );
  expect(rows).toEqual([{ deadlocks: 0 }]);
});

test('each payment token leads to its outcome within 10 s, and only confirmed orders cost money', async () => {
  const outcomes = {
    tok_approve: 201,
    tok_slow: 201,
    tok_flaky: 201,
    tok_lost_answer: 201,
    tok_in_progress: 201,
    tok_decline: 402,
    tok_silent: 402,
    tok_nobody_knows: 402,
  };
  const productId = await register(10);
  const answers = await Promise.all(
    Object.keys(outcomes).map((token) => order([productId], { token })),
  );
  expect(answers.map(({ status }) => status)).toEqual(Object.values(outcomes));
  expect(await stockOf(productId)).toBe(5);
  const orders = await ordersOf(productId);
  expect(orders).toHaveLength(8);
  await expectMoneyToEqualConfirmedOrders(orders);
  for (const { body } of answers.filter(({ status }) => status === 402)) {
    expect(body).toMatchObject({ code: 'PAYMENT_FAILED', orderId: expect.any(String) });
  }
});

test('the same order sent five times at once with one key is one order with one answer', async () => {
  const productId = await register(5);
  const key = randomUUID();
  const answers = await times(5, () => orderUntilDecided([productId], { key }));
  expect(statusesOf(answers)).toEqual({ 201: 5 });
  expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
  expect(new Set(answers.map(({ headers }) => headers.get('location'))).size).toBe(1);
  expect(await ordersOf(productId)).toHaveLength(1);
  expect(await stockOf(productId)).toBe(4);
});

describe('an order', () => {
  test('is seen by its shopper and by operators, and by nobody else', async () => {
    const productId = await register(5);
    const answer = await order([productId, productId]);
    expect(answer.body).toEqual({
      orderId: expect.any(String),
      status: 'CONFIRMED',
      totalAmount: 2 * price,
    });
    const route = answer.headers.get('location')!;
    const own = await stack.call('GET', route, shopper('ann'));
    expect(own.body).toEqual({
      orderId: answer.body.orderId,
      userId: 'ann',
      status: 'CONFIRMED',
      items: [{ productId, quantity: 2, unitPrice: price }],
      totalAmount: 2 * price,
      reason: null,
      payment: { status: 'captured', amount: 2 * price, reason: null },
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
    });
    expect((await stack.call('GET', route)).body).toEqual(own.body);
    expect((await stack.call('GET', route, shopper('bob'))).status).toBe(404);
    expect((await stack.call('POST', `${route}/cancel`, shopper('bob'))).status).toBe(404);
    expect((await stack.call('GET', '/v1/orders/none', shopper('ann'))).status).toBe(404);
  });

  test('has its status as a search attribute of its workflow', async () => {
    const productId = await register(1);
    const { body } = await order([productId]);
    const handle = stack.temporal.workflow.getHandle(workflowIds.placeOrder(body.orderId));
    expect((await handle.describe()).searchAttributes).toMatchObject({
      AggregateId: [body.orderId],
      OrderStatus: ['CONFIRMED'],
    });
  });

  test('that cannot be placed starts no workflow and writes nothing', async () => {
    const productId = await register(5);
    const dear = await stack.call('POST', '/v1/products', {
      body: { name: 'Gold', price: 2 ** 52, stock: 5 },
    });
    const userId = 'refused';
    const lines = [
      [{ productId: 'nothing', quantity: 1 }],
      [
        { productId, quantity: 1 },
        { productId: 'nothing', quantity: 1 },
      ],
      [
        { productId, quantity: 1 },
        { productId: dear.body.productId, quantity: 2 },
      ],
    ];
    const answers: ApiAnswer[] = [];
    for (const items of lines) {
      const body = { items, paymentToken: 'tok_approve' };
      answers.push(await stack.call('POST', '/v1/orders', { ...shopper(userId), body }));
    }
    expect(answers.map(({ status, body }) => [status, body.errors[0].field])).toEqual([
      [404, 'items.0.productId'],
      [404, 'items.1.productId'],
      [400, 'items.1.quantity'],
    ]);
    expect(await ordersOf(productId)).toEqual([]);
    // What is started later is seen later: once this one is seen, the others would be.
    const { body } = await orderUntilDecided([productId], { userId });
    const started = await until('the last order is seen', async () => {
      const orderIds = await orderWorkflowsOf(userId);
      return orderIds.includes(body.orderId) ? orderIds : undefined;
    });
    expect(started).toEqual([body.orderId]);
  });
});

test('a user with as many undecided orders as may be gets no other, and gets one once one is decided', async () => {
  const productId = await register(5);
  const unbounded = stack.apiUrl();
  const bounded = await stack.start('api', { API_MAX_ORDERS_PER_USER: '1' });
  expect(stack.apiUrl()).not.toBe(unbounded);
  const userId = 'hasty';
  const ordering = order([productId], { userId, token: 'tok_slow' });
  await until('the order is undecided', async () => (await ordersOf(productId)).length === 1);
  const key = randomUUID();
  const refused = await order([productId], { userId, key });
  expect(refused).toMatchObject({ status: 429, body: { code: 'TOO_MANY_ORDERS' } });
  expect(refused.headers.get('retry-after')).toBe('1');
  expect((await order([productId], { userId: 'patient' })).status).toBe(201);
  expect((await ordering).status).toBe(201);
  expect((await order([productId], { userId, key })).status).toBe(201);
  expect(await ordersOf(productId)).toHaveLength(3);
  await bounded.end();
  await stack.start('api');
});

/** The orders that have a workflow, by who has placed them. */
async function orderWorkflowsOf(userId: string): Promise<string[]> {
  const orderIds: string[] = [];
  const query = `WorkflowType = 'placeOrder'`;
  for await (const { workflowId, memo } of stack.temporal.workflow.list({ query })) {
    if (memo?.['userId'] === userId) orderIds.push(workflowId.slice(orderIdAt));
  }
  return orderIds;
}

const orderIdAt = workflowIds.placeOrder('').length;

describe('cancelling', () => {
  async function orderOf(productId: string): Promise<OrderRow> {
    return until('the order is placed', async () => (await ordersOf(productId))[0]);
  }

  function cancel(orderId: string, reason?: string, userId = 'ann'): Promise<ApiAnswer> {
    return stack.call('POST', `/v1/orders/${orderId}/cancel`, {
      ...shopper(userId),
      ...(reason === undefined ? {} : { body: { reason } }),
    });
  }

  test('before the stock is reserved: the order is cancelled as soon as it is placed', async () => {
    const productId = await register(3);
    const userId = 'early';
    const key = randomUUID();
    await stack.running('worker:commerce')[0]!.end();
    const ordering = order([productId], { userId, key });
    const orderId = await until('its workflow runs', async () => {
      return (await orderWorkflowsOf(userId))[0];
    });
    const pending = await stack.call('GET', `/v1/orders/${orderId}`, shopper(userId));
    expect(pending.body).toMatchObject({ orderId, userId, status: 'PLACED', items: null });
    expect((await cancel(orderId, undefined, 'bob')).status).toBe(404);
    const cancelling = cancel(orderId, 'too slow', userId);
    await stack.start('worker:commerce');
    // The worker took its time: the answers may be that nothing is decided yet.
    await Promise.all([ordering, cancelling]);
    const answer = await until('it is cancelled', async () => {
      const { status, body } = await cancel(orderId, 'again', userId);
      return status === 200 ? body : undefined;
    });
    expect(answer).toMatchObject({ orderId, status: 'CANCELLED' });
    expect((await orderUntilDecided([productId], { userId, key })).body).toMatchObject({
      code: 'ORDER_CANCELLED',
      orderId,
    });
    expect(await stockOf(productId)).toBe(3);
    expect(await moneyHeld([orderId])).toEqual([0]);
  });

  test('while the payment is under way: nothing is charged, also not later', async () => {
    const productId = await register(3);
    const ordering = order([productId], { token: 'tok_slow' });
    const { order_id: orderId } = await orderOf(productId);
    const answer = await cancel(orderId, 'changed my mind');
    expect(answer).toMatchObject({
      status: 200,
      body: { orderId, status: 'CANCELLED', reason: 'changed my mind' },
    });
    expect(await ordering).toMatchObject({
      status: 409,
      body: { code: 'ORDER_CANCELLED', orderId },
    });
    expect(await stockOf(productId)).toBe(3);
    // The gateway completes the slow charge, whether or not its caller still waits.
    const late = await fetch(new URL('/v1/charges', stack.config.PAYMENT_GATEWAY_URL), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'idempotency-key': `order-${orderId}/charge`,
      },
      body: JSON.stringify({ amount: price, token: 'tok_slow', reference: orderId }),
    });
    expect(late.status).toBe(402);
    expect(await moneyHeld([orderId])).toEqual([0]);
  });

  test('after the payment: the money and the stock are given back, once', async () => {
    const productId = await register(3);
    const { body } = await order([productId, productId]);
    const { orderId } = body as { orderId: string };
    expect(await moneyHeld([orderId])).toEqual([2 * price]);
    const answers = [
      ...(await times(3, (index) => cancel(orderId, `reason ${index}`))),
      await cancel(orderId, 'another reason'),
    ];
    expect(statusesOf(answers)).toEqual({ 200: 4 });
    expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
    expect(await stockOf(productId)).toBe(3);
    expect(await moneyHeld([orderId])).toEqual([0]);
    const seen = await stack.call('GET', `/v1/orders/${orderId}`, shopper('ann'));
    expect(seen.body).toMatchObject({ status: 'CANCELLED', payment: { status: 'refunded' } });
    await until('its events are published', async () => {
      const { rows } = await stack.pool.query<{ type: string; published_at: Date | null }>(
        'SELECT type, published_at FROM commerce.outbox WHERE key = $1 ORDER BY sequence',
        [orderId],
      );
      expect(rows.map(({ type }) => type)).toEqual([
        'OrderPlaced',
        'PaymentCompleted',
        'OrderConfirmed',
        'OrderCancelled',
      ]);
      return rows.every(({ published_at }) => published_at !== null);
    });
  });

  test('behind ten repeats of the order that wait: what was answered with 202 is cancelled, and never charged', async () => {
    const productId = await register(3);
    const userId = 'impatient';
    const orderId = randomUUID();
    const holder = await stack.pool.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SET LOCAL idle_in_transaction_session_timeout = 0');
      await holder.query('SELECT FROM commerce.products WHERE product_id = $1 FOR UPDATE', [
        productId,
      ]);
      // As POST /v1/orders does when it is sent again under one key, but with less patience.
      const commands = createCommands(stack.temporal, { decisionMs: 1_000 });
      const items = [{ productId, quantity: 1 }];
      const repeat = async (): Promise<void> => {
        const placing = commands.placeOrder(orderId, {
          userId,
          items,
          paymentToken: 'tok_approve',
        });
        await expect(placing).rejects.toThrow(UndecidedError);
      };
      await repeat();
      // From then on the workflow accepts each of them at once, and keeps it until the order is decided.
      const handle = stack.temporal.workflow.getHandle(workflowIds.placeOrder(orderId));
      await until('reserving its stock is an ordinary activity', async () => {
        const { events } = await handle.fetchHistory();
        return events?.some((event) => Boolean(event.activityTaskScheduledEventAttributes));
      });
      for (let repeats = 0; repeats < 10; repeats += 1) await repeat();
      await until(
        'the cancellation is promised',
        async () => {
          const { status } = await cancel(orderId, 'too slow', userId);
          expect([202, 503]).toContain(status);
          return status === 202;
        },
        { timeoutMs: 60_000 },
      );
    } finally {
      await holder.query('ROLLBACK');
      holder.release();
    }
    const seen = await until('the order is decided', async () => {
      const { body } = await stack.call('GET', `/v1/orders/${orderId}`, shopper(userId));
      return body.status === 'PLACED' ? undefined : body;
    });
    expect(seen).toMatchObject({ status: 'CANCELLED', reason: 'too slow' });
    expect(await stockOf(productId)).toBe(3);
    expect(await moneyHeld([orderId])).toEqual([0]);
  }, 120_000);

  test('that no worker has taken is not promised', async () => {
    const productId = await register(3);
    const userId = 'unheard';
    await stack.running('worker:commerce')[0]!.end();
    const placed = await order([productId], { userId });
    expect(placed.status).toBe(202);
    const { orderId } = placed.body as { orderId: string };
    const answer = await cancel(orderId, 'changed my mind', userId);
    expect(answer).toMatchObject({ status: 503, body: { code: 'UNDECIDED' } });
    expect(answer.headers.get('retry-after')).not.toBeNull();
    await stack.start('worker:commerce');
    // Asked again, as the answer says.
    await until('it is cancelled', async () => {
      const { status, body } = await cancel(orderId, 'changed my mind', userId);
      return status === 200 && body.status === 'CANCELLED';
    });
    expect(await stockOf(productId)).toBe(3);
    expect(await moneyHeld([orderId])).toEqual([0]);
  }, 120_000);

  test('an order that failed otherwise answers why it did', async () => {
    const productId = await register(3);
    const key = randomUUID();
    const { body } = await order([productId], { token: 'tok_decline', key });
    const answer = await cancel(body.orderId, 'too late');
    expect(answer.body).toEqual({
      orderId: body.orderId,
      status: 'CANCELLED',
      reason: 'payment failed: declined',
    });
  });
});

test('an order that is not decided in time is 202, and the same key gets its answer later', async () => {
  const productId = await register(1);
  await stack.running('worker:commerce')[0]!.end();
  const key = randomUUID();
  const first = await order([productId], { key, token: 'tok_decline' });
  expect(first).toMatchObject({ status: 202, body: { status: 'PLACED' } });
  const route = first.headers.get('location')!;
  expect((await stack.call('GET', route, shopper('ann'))).body).toMatchObject({ status: 'PLACED' });
  await stack.start('worker:commerce');
  await until('it is decided', async () => {
    const { body } = await stack.call('GET', route, shopper('ann'));
    return body.status === 'CANCELLED';
  });
  const second = await order([productId], { key, token: 'tok_decline' });
  expect(second).toMatchObject({ status: 402, body: { orderId: first.body.orderId } });
  const third = await order([productId], { key, token: 'tok_decline' });
  expect(third.body).toEqual(second.body);
  expect(third.headers.get('idempotency-replayed')).toBe('true');
}, 90_000);

test('a change of stock that has expired is made when it is asked for again under its key', async () => {
  const productId = await register(1);
  await stack.running('worker:commerce')[0]!.end();
  const adjustStock = () =>
    stack.call('POST', `/v1/products/${productId}/stock-adjustments`, {
      body: { delta: 4, reason: 'restock' },
      idempotencyKey: 'expired',
    });
  expect(await adjustStock()).toMatchObject({ status: 503 });
  await stack.start('worker:commerce');
  await until('the workflow has ended', async () => {
    const { count } = await stack.temporal.workflow.count(
      `WorkflowType = 'adjustStock' AND AggregateId = '${productId}' AND ExecutionStatus = 'Completed'`,
    );
    return count === 1;
  });
  expect(await stockOf(productId)).toBe(1);
  expect(await adjustStock()).toMatchObject({ status: 201, body: { stock: 5 } });
  expect(await adjustStock()).toMatchObject({ status: 201, body: { stock: 5 } });
  expect(await stockOf(productId)).toBe(5);
}, 90_000);

describe('a change that a failover has lost, with the answer that was to be recorded', () => {
  function adjust(productId: string, key: string): Promise<ApiAnswer> {
    return stack.call('POST', `/v1/products/${productId}/stock-adjustments`, {
      body: { delta: 4, reason: 'restock' },
      idempotencyKey: key,
    });
  }

  /** As if the API's process had been killed before it could record the answer, and the lease were over. */
  async function loseAnswer({ eventId, orderId }: ApiAnswer['body']): Promise<void> {
    const { rowCount } = await stack.pool.query(
      `UPDATE commerce.idempotency_keys
       SET status = NULL, headers = NULL, body = NULL, claimed_until = now()
       WHERE body LIKE '%' || $1 || '%'`,
      [eventId ?? orderId],
    );
    expect(rowCount).toBe(1);
  }

  async function loseAdjustment({ eventId }: ApiAnswer['body']): Promise<void> {
    const { rowCount } = await stack.pool.query(
      `WITH lost AS (
         DELETE FROM commerce.stock_adjustments WHERE event_id = $1 RETURNING *
       ), unwritten AS (
         DELETE FROM commerce.outbox WHERE event_id IN (SELECT event_id FROM lost)
       )
       UPDATE commerce.products SET stock = previous_stock, stock_version = stock_version - 1
       FROM lost WHERE products.product_id = lost.product_id`,
      [eventId],
    );
    expect(rowCount).toBe(1);
  }

  /** Each of the statements, with the order's ID, changes something. */
  async function lose(orderId: string, statements: readonly string[]): Promise<void> {
    const connection = await stack.pool.connect();
    try {
      await connection.query('BEGIN');
      for (const statement of statements) {
        expect((await connection.query(statement, [orderId])).rowCount).toBeGreaterThan(0);
      }
      await connection.query('COMMIT');
    } finally {
      connection.release();
    }
  }

  function loseOrder(orderId: string): Promise<void> {
    return lose(orderId, [
      'DELETE FROM commerce.outbox WHERE key = $1',
      ...stockChangesBack('order'),
      'DELETE FROM commerce.payments WHERE order_id = $1',
      'DELETE FROM commerce.order_items WHERE order_id = $1',
      'DELETE FROM commerce.orders WHERE order_id = $1',
    ]);
  }

  function loseConfirmation(orderId: string): Promise<void> {
    return lose(orderId, [
      `DELETE FROM commerce.outbox
       WHERE key = $1 AND type IN ('PaymentCompleted', 'OrderConfirmed')`,
      'DELETE FROM commerce.payments WHERE order_id = $1',
      `UPDATE commerce.orders SET status = 'PLACED' WHERE order_id = $1`,
    ]);
  }

  function loseCancellation(orderId: string): Promise<void> {
    return lose(orderId, [
      `DELETE FROM commerce.outbox WHERE key = $1 AND type = 'OrderCancelled'`,
      ...stockChangesBack('order-cancelled'),
      `UPDATE commerce.payments SET status = 'captured', reason = NULL WHERE order_id = $1`,
      `UPDATE commerce.orders SET status = 'CONFIRMED', cause = NULL, reason = NULL WHERE order_id = $1`,
    ]);
  }

  function stockChangesBack(reason: 'order' | 'order-cancelled'): string[] {
    const lost = `SELECT * FROM commerce.stock_adjustments WHERE order_id = $1 AND reason = '${reason}'`;
    return [
      `DELETE FROM commerce.outbox USING (${lost}) AS lost WHERE outbox.event_id = lost.event_id`,
      `UPDATE commerce.products SET stock = previous_stock, stock_version = stock_version - 1
       FROM (${lost}) AS lost WHERE products.product_id = lost.product_id`,
      `DELETE FROM commerce.stock_adjustments WHERE order_id = $1 AND reason = '${reason}'`,
    ];
  }

  async function untilRunEnds(aggregateId: string, runs: number): Promise<void> {
    await until('the workflow has ended', async () => {
      const ended = `AggregateId = '${aggregateId}' AND ExecutionStatus = 'Completed'`;
      const types = `WorkflowType IN ('adjustStock', 'placeOrder')`;
      return (await stack.temporal.workflow.count(`${ended} AND ${types}`)).count === runs;
    });
  }

  /**
   * Nobody publishes the events of the product meanwhile, and one of four more units waits: workflows that have
   * decided go on running.
   */
  async function whileUnpublished(productId: string, work: () => Promise<void>): Promise<void> {
    const holder = await stack.pool.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SET LOCAL idle_in_transaction_session_timeout = 0');
      await holder.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
        `outbox/catalog-events/${productId}`,
      ]);
      expect((await adjust(productId, randomUUID())).status).toBe(201);
      await work();
    } finally {
      await holder.query('ROLLBACK');
      holder.release();
    }
  }

  test('is made when it is asked for again under its key, and one that is there is made once', async () => {
    const productId = await register(1);
    const key = randomUUID();
    const first = await adjust(productId, key);
    expect(first).toMatchObject({ status: 201, body: { stock: 5 } });
    await untilRunEnds(productId, 1);
    await loseAdjustment(first.body);
    await loseAnswer(first.body);
    expect(await stockOf(productId)).toBe(1);
    expect(await adjust(productId, key)).toMatchObject({ status: 201, body: first.body });
    expect(await stockOf(productId)).toBe(5);

    await untilRunEnds(productId, 2);
    await loseAnswer(first.body);
    expect(await adjust(productId, key)).toMatchObject({ status: 201, body: first.body });
    expect(await stockOf(productId)).toBe(5);
  }, 60_000);

  test('is made while the workflow that remembers it waits for Kafka, too', async () => {
    const productId = await register(1);
    await until('everything is published', async () => (await unpublished()) === 0);
    await whileUnpublished(productId, async () => {
      const key = randomUUID();
      const first = await adjust(productId, key);
      expect(first).toMatchObject({ status: 201, body: { stock: 9 } });
      await loseAdjustment(first.body);
      await loseAnswer(first.body);
      expect(await adjust(productId, key)).toMatchObject({ status: 201, body: first.body });
      expect(await stockOf(productId)).toBe(9);
      await loseAnswer(first.body);
      expect(await adjust(productId, key)).toMatchObject({ status: 201, body: first.body });
      expect(await stockOf(productId)).toBe(9);
    });
  }, 60_000);

  test('of an order may be its confirmation alone, which an open workflow is not believed about', async () => {
    const productId = await register(3);
    await until('everything is published', async () => (await unpublished()) === 0);
    const key = randomUUID();
    const first = await orderUntilDecided([productId], { key });
    expect(first.status).toBe(201);
    const { orderId } = first.body as { orderId: string };
    await untilRunEnds(orderId, 1);
    await loseOrder(orderId);
    await loseAnswer(first.body);
    await whileUnpublished(productId, async () => {
      expect(await order([productId], { key })).toMatchObject({ status: 201, body: first.body });
      await loseConfirmation(orderId);
      await loseAnswer(first.body);
      const repeat = await order([productId], { key });
      expect(repeat).toMatchObject({ status: 503, body: { code: 'UNDECIDED' } });
    });
    expect(await orderUntilDecided([productId], { key })).toMatchObject({
      status: 201,
      body: first.body,
    });
    expect(await ordersOf(productId)).toMatchObject([{ order_id: orderId, status: 'CONFIRMED' }]);
  }, 60_000);

  test('of an order is made, with the money that was captured', async () => {
    const productId = await register(3);
    await until('everything is published', async () => (await unpublished()) === 0);
    const key = randomUUID();
    const again = () => order([productId], { key });
    const first = await again();
    expect(first.status).toBe(201);
    const { orderId } = first.body as { orderId: string };
    await untilRunEnds(orderId, 1);
    await loseOrder(orderId);
    await loseAnswer(first.body);
    expect(await stockOf(productId)).toBe(3);
    expect(await again()).toMatchObject({ status: 201, body: first.body });
    const [confirmed] = await ordersOf(productId);
    expect(confirmed).toMatchObject({ order_id: orderId, status: 'CONFIRMED' });
    expect(await stockOf(productId)).toBe(2);
    expect(await moneyHeld([orderId])).toEqual([price]);

    await untilRunEnds(orderId, 2);
    await loseOrder(orderId);
    await loseAnswer(first.body);
    await whileUnpublished(productId, async () => {
      // The run that places it stays open, and remembers it when it is lost again.
      expect(await again()).toMatchObject({ status: 201, body: first.body });
      await loseOrder(orderId);
      await loseAnswer(first.body);
      expect(await again()).toMatchObject({ status: 503, body: { code: 'UNDECIDED' } });
    });
    expect(await orderUntilDecided([productId], { key })).toMatchObject({
      status: 201,
      body: first.body,
    });
    expect(await ordersOf(productId)).toMatchObject([{ order_id: orderId, status: 'CONFIRMED' }]);
    expect(await stockOf(productId)).toBe(6);
    expect(await moneyHeld([orderId])).toEqual([price]);
  }, 120_000);

  test('of an order that was cancelled is made again when it is cancelled again', async () => {
    const productId = await register(3);
    const { orderId } = (await order([productId])).body as { orderId: string };
    await until('everything is published', async () => (await unpublished()) === 0);
    await untilRunEnds(orderId, 1);
    const cancel = () => stack.call('POST', `/v1/orders/${orderId}/cancel`, shopper('ann'));
    await whileUnpublished(productId, async () => {
      expect((await cancel()).status).toBe(200);
      await loseCancellation(orderId);
      expect(await cancel()).toMatchObject({ status: 503, body: { code: 'UNDECIDED' } });
    });
    await until('it is cancelled', async () => (await cancel()).status === 200);
    expect(await ordersOf(productId)).toMatchObject([{ order_id: orderId, status: 'CANCELLED' }]);
    expect(await stockOf(productId)).toBe(7);
    expect(await moneyHeld([orderId])).toEqual([0]);
  }, 60_000);
});

test('an order whose workflow was terminated goes on when it is asked for again', async () => {
  const productId = await register(1);
  const purchase = { userId: 'terminated', key: randomUUID(), token: 'tok_slow' };
  const ordering = order([productId], purchase);
  const { order_id: orderId } = await until('it is placed', async () => {
    return (await ordersOf(productId))[0];
  });
  const handle = stack.temporal.workflow.getHandle(workflowIds.placeOrder(orderId));
  await until('the workflow has accepted that somebody waits for it', async () => {
    const { events } = await handle.fetchHistory();
    return events?.some((event) => Boolean(event.workflowExecutionUpdateAcceptedEventAttributes));
  });
  await handle.terminate('a mistake');
  expect(await ordering).toMatchObject({ status: 500, body: { code: 'COMMAND_FAILED' } });
  const answer = await orderUntilDecided([productId], purchase);
  expect(answer).toMatchObject({ status: 201, body: { orderId } });
}, 90_000);

test('200 users like, unlike and like again: everything that counts agrees', async () => {
  const productId = await register(1);
  const route = `/v1/products/${productId}/like`;
  const users = Array.from({ length: 200 }, (_, index) => `user-${index}`).values();
  // Each of them takes the next user who has not had a turn.
  await times(20, async () => {
    for (const user of users) {
      for (const method of ['PUT', 'DELETE', 'PUT']) {
        const answer = await stack.call(method, route, shopper(user));
        expect(answer).toMatchObject({ status: 200, body: { liked: method === 'PUT' } });
      }
    }
  });
  const again = await stack.call('PUT', route, shopper('user-0'));
  expect(again.body).toEqual({ liked: true, likeCount: 200 });
  const { rows } = await stack.pool.query(
    `SELECT like_count, like_version,
       (SELECT count(*) FROM commerce.product_likes WHERE product_id = $1) AS users,
       (SELECT count(*) FROM commerce.outbox WHERE key = $1 AND type = 'LikeChanged') AS events
     FROM commerce.products WHERE product_id = $1`,
    [productId],
  );
  expect(rows).toEqual([{ like_count: 200, like_version: 600, users: 200, events: 600 }]);
  await until('all of them are published', async () => (await unpublished()) === 0);
  const messages = await readTopic(stack.kafka, 'catalog-events');
  const events = messages.map(({ value }) => JSON.parse(value));
  const changes = events.filter(
    ({ type, subject }) => type === 'LikeChanged' && subject === productId,
  );
  expect(changes.map(({ data }) => data.version)).toEqual(
    Array.from({ length: 600 }, (_, index) => index + 1),
  );
  expect(changes.at(-1).data).toMatchObject({ likeCount: 200 });
}, 90_000);

async function unpublished(): Promise<number> {
  const { rows } = await stack.pool.query<{ count: number }>(
    'SELECT count(*) FROM commerce.outbox WHERE published_at IS NULL',
  );
  return rows[0]!.count;
}

/** Unpublished events of a product and of the orders of it. */
async function unpublishedOf(productId: string): Promise<number> {
  const { rows } = await stack.pool.query<{ count: number }>(
    `SELECT count(*) FROM commerce.outbox
     WHERE published_at IS NULL AND (key = $1 OR key IN (
       SELECT order_id FROM commerce.order_items WHERE product_id = $1))`,
    [productId],
  );
  return rows[0]!.count;
}

// Larger: ORDERS_PER_SECOND=20 OUTAGE_SECONDS=60 npm test -- integration/orders -t 'while Kafka is away'
const ordersPerSecond = Number(process.env['ORDERS_PER_SECOND'] ?? 10);
const outageSeconds = Number(process.env['OUTAGE_SECONDS'] ?? 4);
/** For everything to go out afterwards, in ms. */
const outageTimeoutMs = 60_000 + outageSeconds * 2_000;
const ordersOfOutage = Math.round(ordersPerSecond * outageSeconds);

/** Calls at a steady rate, however long each takes. @returns when each was due, and what it answered */
async function atRate<T>(count: number, perSecond: number, call: (index: number) => Promise<T>) {
  const startedAt = performance.now();
  const calls: Promise<{ latenessMs: number; latencyMs: number; answer: T }>[] = [];
  for (let index = 0; index < count; index += 1) {
    const due = startedAt + (index * 1_000) / perSecond;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
    const sentAt = performance.now();
    const answering = call(index);
    calls.push(
      answering.then((answer) => ({
        answer,
        latenessMs: sentAt - due,
        latencyMs: performance.now() - due,
      })),
    );
  }
  return Promise.all(calls);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return Math.round(sorted[Math.ceil(sorted.length * share) - 1]!);
}

test(
  'while Kafka is away orders are decided as ever; then all goes out, in order for each key',
  async () => {
    const productId = await register(ordersOfOutage + 60);
    await until('everything is published', async () => (await unpublished()) === 0);
    await stack.cluster.stop('kafka');
    try {
      const viewing = atRate(ordersOfOutage, ordersPerSecond, () =>
        stack.call('GET', `/v1/products/${productId}`),
      );
      const ordered = await atRate(ordersOfOutage, ordersPerSecond, (index) =>
        orderUntilDecided([productId], { userId: `user-${index}` }),
      );
      const answers = ordered.map(({ answer }) => answer);
      expect(statusesOf(answers)).toEqual({ 201: ordersOfOutage });
      const views = (await viewing).map(({ answer }) => answer);
      expect(statusesOf(views)).toEqual({ 200: ordersOfOutage });
      const latencies = ordered.map(({ latencyMs }) => latencyMs);
      console.log(
        `${ordersOfOutage} orders decided at ${ordersPerSecond}/s without Kafka: ` +
          `p50 ${quantile(latencies, 0.5)} ms, p99 ${quantile(latencies, 0.99)} ms, ` +
          `sent at most ${Math.round(Math.max(...ordered.map((each) => each.latenessMs)))} ms late`,
      );
      expect(await unpublishedOf(productId)).toBe(ordersOfOutage * 4);
      // Views that only wait in memory are handed over when the API stops.
      await times(5, () => stack.call('GET', `/v1/products/${productId}`));
      expect(await stack.running('api')[0]!.end('SIGTERM')).toBe(0);
      await stack.start('api');
    } finally {
      await stack.cluster.start('kafka');
    }
    await until('everything is published', async () => (await unpublished()) === 0, {
      timeoutMs: outageTimeoutMs,
    });
    await until(
      'no workflow is at it any more',
      async () => (await stack.temporal.workflow.count(`ExecutionStatus = 'Running'`)).count === 0,
      { timeoutMs: outageTimeoutMs },
    );

    const [catalog, orders] = await Promise.all([
      readTopic(stack.kafka, 'catalog-events'),
      readTopic(stack.kafka, 'order-events'),
    ]);
    const ofProduct = catalog.map(({ value }) => JSON.parse(value)).filter(isAbout(productId));
    const stockVersions = ofProduct.flatMap(({ data }) => data.version ?? []);
    expect(stockVersions).toEqual(
      Array.from({ length: ordersOfOutage + 1 }, (_, index) => index + 1),
    );
    const views = ofProduct.filter(({ type }) => type === 'ProductViewed').map(({ id }) => id);
    expect(new Set(views).size).toBe(ordersOfOutage + 5);
    for (const { order_id } of await ordersOf(productId)) {
      const types = orders.map(({ value }) => JSON.parse(value)).filter(isAbout(order_id));
      expect(types.map(({ type }) => type)).toEqual([
        'OrderPlaced',
        'PaymentCompleted',
        'OrderConfirmed',
      ]);
    }
  },
  120_000 + 2 * outageTimeoutMs,
);

function isAbout(aggregateId: string) {
  return ({ subject }: { subject: string }): boolean => subject === aggregateId;
}
