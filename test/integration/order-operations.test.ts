/** Operators find what is undecided, see what it waits for, and cancel it, over HTTP and on the command line. */
import { randomUUID } from 'node:crypto';
import { workflowIds } from '../../events/workflow-ids';
import type { OrderTimeline } from '../../operations/order-timeline';
import { orderListStatement, type OrderFilter } from '../../operations/order-list';
import { asDevelopmentUser } from '../../platform/postgres/development-users';
import { createDevelopmentUsers } from '../../migrations/development-users';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { runOpsAtTerminal, runOpsHere } from '../../testkit/run-ops';
import { createStack, type Stack } from '../../testkit/stack';
import { startSwitchableProxy, type SwitchableProxy } from '../../testkit/switchable-proxy';
import { until } from '../../testkit/until';

let stack: Stack;
let gateway: SwitchableProxy;
let productId: string;

beforeAll(async () => {
  stack = await createStack([], { AUDIT_INTERVAL_MS: String(24 * 3_600_000) });
  const { PAYMENT_GATEWAY_URL: behind } = stack.config;
  gateway = await startSwitchableProxy(Number(new URL(behind).port));
  await createDevelopmentUsers(stack.config.DATABASE_URL, createLogger('test', 'fatal'));
  // With the rights of its role alone.
  await stack.start('api', { DATABASE_URL: asDevelopmentUser(stack.config.DATABASE_URL, 'api') });
  await stack.start('worker:commerce', { PAYMENT_GATEWAY_URL: `http://127.0.0.1:${gateway.port}` });
  const body = { name: 'Kettle', price: 700, stock: 100 };
  productId = (await stack.call('POST', '/v1/products', { body })).body.productId as string;
}, 120_000);

afterAll(async () => {
  await stack?.stop();
  await gateway?.stop();
});

async function order(userId: string, paymentToken: string): Promise<string> {
  const body = { items: [{ productId, quantity: 2 }], paymentToken };
  const answer = await stack.call('POST', '/v1/orders', { as: 'shopper', userId, body });
  return answer.body.orderId as string;
}

async function list(query: string): Promise<string[]> {
  const { status, body } = await stack.call('GET', `/v1/orders?${query}`);
  expect(status).toBe(200);
  return (body.items as { orderId: string }[]).map(({ orderId }) => orderId);
}

async function timelineOf(orderId: string): Promise<OrderTimeline> {
  const { status, body } = await stack.call('GET', `/v1/orders/${orderId}/timeline`);
  expect(status).toBe(200);
  return body as OrderTimeline;
}

const stepsOf = ({ steps }: OrderTimeline) => steps.map(({ step }) => step);

describe('an order confirmed, one declined, and one undecided because the gateway hangs', () => {
  let confirmed: string;
  let declined: string;
  let undecided: string;

  beforeAll(async () => {
    confirmed = await order('ann', 'tok_approve');
    declined = await order('bob', 'tok_decline');
    gateway.takesOnlySilently(true);
    gateway.silence();
    undecided = await order('ann', 'tok_approve');
  }, 60_000);

  test('the undecided one is listed first, and the others newest first', async () => {
    expect(await list('')).toEqual([undecided, declined, confirmed]);
    await until('it counts as stuck', async () => (await list('status=PLACED&older-than=10s'))[0]);
    const { body } = await stack.call('GET', '/v1/orders?limit=1');
    expect(body.items).toEqual([
      {
        orderId: undecided,
        userId: 'ann',
        status: 'PLACED',
        stuck: true,
        totalAmount: 1_400,
        reason: null,
        productIds: [productId],
        createdAt: expect.any(String),
        updatedAt: expect.any(String),
      },
    ]);
  });

  test('each filter, and pages of one, find the same', async () => {
    expect(await list('status=CONFIRMED')).toEqual([confirmed]);
    expect(await list('user=ann')).toEqual([undecided, confirmed]);
    expect(await list(`product=${productId}`)).toEqual([undecided, declined, confirmed]);
    expect(await list(`product=${productId}&user=bob`)).toEqual([declined]);
    expect(await list('product=none')).toEqual([]);
    expect(await list('older-than=1d')).toEqual([]);
    for (const filter of ['', `product=${productId}`, 'older-than=0s', 'user=ann']) {
      const paged: string[] = [];
      for (let after: string | null = ''; after !== null;) {
        const behind = after === '' ? '' : `&after=${after}`;
        const page = await stack.call('GET', `/v1/orders?limit=1&${filter}${behind}`);
        paged.push(...page.body.items.map(({ orderId }: { orderId: string }) => orderId));
        after = page.body.nextCursor;
      }
      expect(paged).toEqual(await list(filter));
    }
  });

  test('the timeline of each has its steps, with events that are published', async () => {
    const done = await until('its events are marked', async () => {
      const timeline = await timelineOf(confirmed);
      return timeline.waiting === null ? timeline : undefined;
    });
    expect(stepsOf(done)).toEqual(['reserved', 'charged', 'confirmed']);
    expect(done.events.map(({ type }) => type)).toEqual([
      'OrderPlaced',
      'StockAdjusted',
      'PaymentCompleted',
      'OrderConfirmed',
    ]);
    expect(done.payment).toMatchObject({
      idempotencyKey: `order-${confirmed}/charge`,
      books: { status: 'captured', amount: 1_400, paymentId: expect.any(String) },
      tries: [{ activity: 'chargeOrder', state: 'succeeded', attempts: 1, error: null }],
    });
    const { payment, ...given } = await timelineOf(declined);
    expect(stepsOf({ payment, ...given })).toEqual([
      'reserved',
      'payment-failed',
      'released',
      'cancelled',
    ]);
    expect(payment.tries.map(({ activity }) => activity)).toEqual(['chargeOrder', 'voidPayment']);
  });

  test('the timeline of the undecided one says that it waits for the gateway, and how it was tried', async () => {
    const timeline = await until('it is being refunded', async () => {
      const found = await timelineOf(undecided);
      const tried = (found.waiting?.attempts ?? 0) > 1;
      return tried && found.waiting?.what.startsWith('voidPayment') ? found : undefined;
    });
    expect(stepsOf(timeline)).toEqual(['reserved']);
    expect(timeline).toMatchObject({ status: 'PLACED', stuck: true, workflowStatus: 'RUNNING' });
    expect(timeline.waiting).toMatchObject({
      for: 'gateway',
      lastError: expect.stringContaining('payment gateway is unavailable'),
      runbook: 'docs/runbook.md#paymentgatewayfailing',
    });
    expect(timeline.payment.books).toBeNull();
    expect(timeline.payment.tries[0]).toMatchObject({ activity: 'chargeOrder', state: 'failed' });
    const { stdout } = await runOpsHere(stack, 'orders', 'show', undecided);
    expect(stdout).toContain('waits for    gateway');
    expect(stdout).toContain(`order-${undecided}/charge`);
  });

  test('the command line lists it, asks before it cancels it, and cancels it once the gateway answers', async () => {
    const listed = await runOpsHere(stack, 'orders', 'list', '--limit', '1', '--json');
    expect(JSON.parse(listed.stdout)).toMatchObject({
      orders: [{ orderId: undecided, stuck: true }],
      next: undecided,
    });
    const next = await runOpsHere(stack, 'orders', 'list', '--after', undecided, '--json');
    expect(JSON.parse(next.stdout).orders).toMatchObject([
      { orderId: declined },
      { orderId: confirmed },
    ]);
    const refused = await runOpsAtTerminal(stack, 'n', 'orders', 'cancel', undecided);
    expect(refused).toMatchObject({ exitCode: 1, stderr: 'Nothing was done.\n' });

    gateway.takesOnlySilently(false);
    const cancelling = ['orders', 'cancel', undecided, '--reason', 'asked for'];
    const cancelled = await until('it is cancelled', async () => {
      const outcome = await runOpsHere(stack, ...cancelling);
      return outcome.exitCode === 0 ? outcome : undefined;
    });
    expect(cancelled.stdout).toContain(`Order ${undecided} is cancelled`);
    const timeline = await timelineOf(undecided);
    expect(timeline.status).toBe('CANCELLED');
    expect(stepsOf(timeline)).toEqual(['reserved', 'payment-failed', 'released', 'cancelled']);
  }, 60_000);

  test('a confirmed one is cancelled by a run of its own, and its payment refunded', async () => {
    const { exitCode } = await runOpsHere(stack, 'orders', 'cancel', confirmed, '--reason', 'x');
    expect(exitCode).toBe(0);
    const timeline = await timelineOf(confirmed);
    expect(timeline).toMatchObject({ reason: 'x', payment: { books: { status: 'refunded' } } });
    expect(stepsOf(timeline)).toEqual([
      ...['reserved', 'charged', 'confirmed'],
      ...['refunded', 'released', 'cancelled'],
    ]);
  });

  test('one whose cancellation a restore has lost is cancelled again, though an ended run remembers it', async () => {
    await until('its workflow has ended', async () => {
      const handle = stack.temporal.workflow.getHandle(workflowIds.placeOrder(confirmed));
      return (await handle.describe()).status.name === 'COMPLETED';
    });
    // As `after-restore` leaves it: the outbox has what was told.
    await stack.pool.query(
      `WITH placed AS (
         UPDATE commerce.orders SET status = 'CONFIRMED', cause = NULL, reason = NULL
         WHERE order_id = $1 RETURNING order_id
       ), paid AS (
         UPDATE commerce.payments SET status = 'captured', reason = NULL
         WHERE order_id IN (SELECT order_id FROM placed)
       )
       DELETE FROM commerce.stock_adjustments
       WHERE order_id IN (SELECT order_id FROM placed) AND reason = 'order-cancelled'`,
      [confirmed],
    );
    const { exitCode } = await runOpsHere(stack, 'orders', 'cancel', confirmed, '--reason', 'y');
    expect(exitCode).toBe(0);
    expect(await timelineOf(confirmed)).toMatchObject({ status: 'CANCELLED', reason: 'y' });
  });

  test('an order that there is not is told by the API and by each command', async () => {
    const { status, body } = await stack.call('GET', '/v1/orders/none/timeline');
    expect([status, body.code]).toEqual([404, 'ORDER_NOT_FOUND']);
    for (const command of [
      ['show', 'none'],
      ['cancel', 'none'],
      ['list', '--after', 'none'],
    ]) {
      const { exitCode, stderr } = await runOpsHere(stack, 'orders', ...command);
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining('There is no order none')]);
    }
  });
});

describe('with 100,000 orders', () => {
  const bulk = 100_000;

  beforeAll(async () => {
    await stack.pool.query(`
      INSERT INTO commerce.orders (order_id, user_id, status, total_amount, cause, created_at)
      SELECT 'bulk-' || n, 'user-' || n % 1000,
        CASE WHEN n % 1000 = 7 THEN 'PLACED' WHEN n % 1000 = 8 THEN 'CANCELLED' ELSE 'CONFIRMED' END,
        700, CASE WHEN n % 1000 = 8 THEN 'requested' END, now() - n * interval '1 second'
      FROM generate_series(1, ${bulk}) AS n`);
    await stack.pool.query(
      `INSERT INTO commerce.products (product_id, name, price, stock, stock_version)
       SELECT 'bulk-product-' || n, 'Cup', 700, 0, 1 FROM generate_series(0, 9) AS n`,
    );
    await stack.pool.query(`
      INSERT INTO commerce.order_items (order_id, product_id, quantity, unit_price)
      SELECT 'bulk-' || n, 'bulk-product-' || n % 10, 1, 700 FROM generate_series(1, ${bulk}) AS n`);
    await stack.pool.query(`
      INSERT INTO commerce.stock_adjustments (adjustment_id, product_id, delta, previous_stock, stock,
        version, reason, order_id, event_id, created_at)
      SELECT 'bulk-' || n, 'bulk-product-' || n % 10, -1, 1, 0, n, 'order', 'bulk-' || n, 'bulk-' || n,
        now() - n * interval '1 second'
      FROM generate_series(1, ${bulk}) AS n`);
    await stack.pool.query(
      'ANALYZE commerce.orders, commerce.order_items, commerce.stock_adjustments',
    );
  }, 120_000);

  const filters: [what: string, filter: OrderFilter][] = [
    ['all', {}],
    ['of a user', { userId: 'user-9' }],
    ['of a product', { productId: 'bulk-product-9' }],
    ['of a user and a product', { userId: 'user-9', productId: 'bulk-product-9' }],
  ];

  // As after five uses: for any values, and not for those of this test.
  test.each(filters)(
    'a page of %s reads indexes, and few entries of them',
    async (_what, filter) => {
      const pool = createPool(stack.config.DATABASE_URL, createLogger('test', 'fatal'), {
        applicationName: 'plans',
        maxConnections: 1,
      });
      try {
        await pool.query("SET plan_cache_mode = 'force_generic_plan'");
        for (const part of ['undecided', 'decided'] as const) {
          const statuses = part === 'undecided' ? "'{PLACED}'" : "'{CONFIRMED,CANCELLED}'";
          const ids = [filter.userId, filter.productId].filter((id) => id !== undefined);
          const values = [statuses, 'NULL', 'NULL', '5', '21', ...ids.map((id) => `'${id}'`)];
          const name = `plan_${randomUUID().replaceAll('-', '')}`;
          await pool.query(`PREPARE ${name} AS ${orderListStatement(part, filter)}`);
          const { rows } = await pool.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
            `EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE ${name} (${values.join(', ')})`,
          );
          const nodes = flatten(rows[0]!['QUERY PLAN'][0].Plan);
          expect(nodes.filter((node) => node['Node Type'] === 'Seq Scan')).toEqual([]);
          const read = nodes
            .filter((node) => node['Relation Name'] !== undefined)
            .map(
              (node) =>
                (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) *
                node['Actual Loops'],
            );
          expect(Math.max(...read)).toBeLessThan(200);
        }
      } finally {
        await pool.end();
      }
    },
  );

  test('pages of the orders of a user go on to the last one', async () => {
    const seen = new Set<string>();
    for (let after: string | null = ''; after !== null;) {
      const behind = after === '' ? '' : `&after=${after}`;
      const { body } = await stack.call('GET', `/v1/orders?limit=7&user=user-8${behind}`);
      for (const { orderId } of body.items as { orderId: string }[]) {
        expect(seen.has(orderId)).toBe(false);
        seen.add(orderId);
      }
      after = body.nextCursor;
    }
    expect(seen.size).toBe(bulk / 1_000);
  });
});

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly PlanNode[];
}

function flatten(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}
