import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { createLikeActivities } from '../../activities/commerce/likes';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import { createOrderActivities } from '../../activities/commerce/orders';
import { createProductActivities } from '../../activities/commerce/products';
import { createStockActivities } from '../../activities/commerce/stock';
import { eventTopics } from '../../events/topics';
import { verify, type VerificationReport } from '../../operations/verification';
import { readGroupProgress } from '../../platform/kafka/consumer-lag';
import { produce } from '../../testkit/foreign-producer';
import { runOps, runOpsHere } from '../../testkit/run-ops';
import { saveTables, type SavedTables } from '../../testkit/saved-tables';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;
let saved: SavedTables;

beforeAll(async () => {
  stack = await createStack([]);
  await runAShop();
  await deliverEverything();
  saved = await saveTables(stack.pool);
});

afterAll(() => stack.stop());

/** A shop with a bit of everything: orders confirmed, cancelled and open, adjustments, likes. */
async function runAShop(): Promise<void> {
  const { pool } = stack;
  const { createProduct } = createProductActivities({ pool });
  const { changeStock } = createStockActivities({ pool });
  const { reserveStock, confirmOrder, cancelOrder } = createOrderActivities({ pool });
  const { setLike } = createLikeActivities({ pool });
  for (const productId of ['p1', 'p2']) {
    await createProduct({ productId, name: productId, price: 300, stock: 50 });
  }
  for (const [index, delta] of [10, -5, 7].entries()) {
    await changeStock({ adjustmentId: `a${index}`, productId: 'p1', delta, reason: 'correction' });
  }
  for (const orderId of ['confirmed', 'cancelled', 'cancelled-later', 'open']) {
    const items = ['p1', 'p2'].map((productId) => ({ productId, quantity: 2 }));
    await reserveStock(orderId, { userId: 'u1', items, paymentToken: 'tok_approve' });
  }
  await confirmOrder('confirmed', 'payment-1');
  await confirmOrder('cancelled-later', 'payment-2');
  await cancelOrder(
    'cancelled',
    { cause: 'payment-failed', reason: 'declined' },
    { status: 'failed', reason: 'declined', paymentId: null },
  );
  await cancelOrder(
    'cancelled-later',
    { cause: 'requested', reason: 'sent back' },
    { status: 'refunded', reason: 'sent back', paymentId: null },
  );
  for (const [index, liked] of [true, true, false].entries()) {
    const userId = index === 2 ? 'u0' : `u${index}`;
    await setLike({ requestId: `l${index}`, productId: 'p2', userId, liked });
  }
}

/** Publishes, consumes and handles the whole outbox, as it would be without any server between. */
async function deliverEverything(): Promise<void> {
  const { pool } = stack;
  const { rows } = await pool.query<{ eventId: string; topic: string; payload: object }>(`
    UPDATE commerce.outbox SET published_at = now(), partition = 0, "offset" = sequence
    RETURNING event_id AS "eventId", topic, payload`);
  const events = rows.map(({ eventId, topic, payload }, offset) => {
    const value = JSON.stringify(payload);
    return { eventId, topic, partition: 0, offset, key: '', value, headers: [], producedAt: 0 };
  });
  await createAuditLogActivities({ pool }).writeAuditLog(events);
  const eventIds = events.map(({ eventId }) => eventId);
  await createMetricsActivities({ pool }).updateMetrics({ eventIds, workflowId: 'by hand' });
  await commitAsTheBridge();
}

/** Fills every partition 0 past the offsets of the outbox, and commits their ends as the bridge does. */
async function commitAsTheBridge(): Promise<void> {
  const { kafka, config } = stack;
  const messages = Array.from({ length: 100 }, () => ({ value: 'filling', partition: 0 }));
  for (const topic of eventTopics) await produce(kafka, topic, messages);
  const consumer = kafka.consumer({ groupId: config.BRIDGE_GROUP_ID, maxWaitTimeInMs: 100 });
  await consumer.connect();
  try {
    const joined = new Promise((resolve) => {
      consumer.on(consumer.events.GROUP_JOIN, resolve);
    });
    await consumer.subscribe({ topics: [...eventTopics] });
    await consumer.run({ autoCommit: false, eachMessage: async () => undefined });
    await joined;
    const ends = eventTopics.map((topic) => ({ topic, partition: 0, offset: '100' }));
    // A commit that meets a rebalance of the new group can be lost, although it was answered.
    await until('the group has committed the ends', async () => {
      await consumer.commitOffsets(ends);
      const { partitions } = await readGroupProgress(kafka, config.BRIDGE_GROUP_ID, eventTopics);
      return partitions.filter(({ committed }) => committed === 100).length === ends.length;
    });
  } finally {
    await consumer.disconnect();
  }
}

function run(graceSeconds = 0): Promise<VerificationReport> {
  const { pool, kafka, config } = stack;
  return verify({ pool, kafka, groupId: config.BRIDGE_GROUP_ID }, { graceSeconds });
}

function failed({ checks }: VerificationReport): string[] {
  return checks.filter(({ holds }) => !holds).map(({ name }) => name);
}

/** Parks every logged `OrderPlaced` with its own bytes. */
const parkingOrderPlaced = (reason: string): string => `
  INSERT INTO collector.dead_letters
    (topic, partition, "offset", value, value_hash, headers, produced_at, event_id, reason, detail, workflow_id)
  SELECT topic, partition, "offset", convert_to(payload::text, 'UTF8'), '', '[]', now(), event_id,
    '${reason}', '', event_id
  FROM collector.event_log WHERE type = 'OrderPlaced'`;

test('a system without a flaw holds every rule, each with what was compared', async () => {
  const report = await run();
  expect(failed(report)).toEqual([]);
  expect(report.holds).toBe(true);
  const figures = Object.fromEntries(report.checks.map((check) => [check.name, check.figures]));
  expect(figures).toMatchObject({
    'stock-adjustments': { products: 2 },
    'order-stock': { orders: 4, cancelled: 2 },
    money: { confirmedOrders: 1, confirmedAmount: 1200, capturedAmount: 1200 },
    'stock-agreement': { products: 2, compared: 2, inFlight: 0 },
    'like-agreement': { products: 2, compared: 2 },
  });
});

/** A damage, as SQL, and the rules that must notice it. */
const damages: [what: string, damage: string, noticedBy: string[]][] = [
  [
    'a stock that was changed past its adjustments',
    `UPDATE commerce.products SET stock = stock + 1 WHERE product_id = 'p1'`,
    ['stock-adjustments', 'stock-agreement'],
  ],
  [
    'an adjustment that vanished',
    `DELETE FROM commerce.stock_adjustments WHERE adjustment_id = 'a1'`,
    ['stock-adjustments'],
  ],
  [
    'versions that nobody knows of',
    `UPDATE commerce.stock_adjustments SET version = version + 2
     WHERE product_id = 'p1' AND version = (SELECT stock_version FROM commerce.products WHERE product_id = 'p1');
     UPDATE commerce.products SET stock_version = stock_version + 2 WHERE product_id = 'p1'`,
    ['stock-adjustments', 'changes-have-events'],
  ],
  [
    'an adjustment with a wrong sum',
    `UPDATE commerce.stock_adjustments SET stock = stock + 1 WHERE adjustment_id = 'a1'`,
    ['stock-adjustments'],
  ],
  [
    'a cancelled order that kept its stock',
    `UPDATE commerce.stock_adjustments SET order_id = NULL
     WHERE order_id = 'cancelled' AND product_id = 'p1' AND delta > 0`,
    ['order-stock'],
  ],
  [
    'money that was captured twice as high',
    `UPDATE commerce.payments SET amount = amount * 2 WHERE order_id = 'confirmed'`,
    ['money'],
  ],
  [
    'a confirmed order that nobody paid',
    `DELETE FROM commerce.payments WHERE order_id = 'confirmed'`,
    ['money'],
  ],
  [
    'money that was kept for a cancelled order',
    `UPDATE commerce.payments SET status = 'captured' WHERE order_id = 'cancelled-later'`,
    ['money'],
  ],
  [
    'a like that is not counted',
    `INSERT INTO commerce.product_likes (product_id, user_id) VALUES ('p2', 'u9')`,
    ['likes'],
  ],
  [
    'a change without its event',
    `DELETE FROM commerce.outbox WHERE key = 'confirmed' AND type = 'OrderConfirmed'`,
    ['changes-have-events'],
  ],
  [
    'a change of stock whose event tells of another',
    `UPDATE commerce.stock_adjustments SET event_id = (
       SELECT event_id FROM commerce.outbox WHERE key = 'p1' AND type = 'ProductRegistered')
     WHERE adjustment_id = 'a1'`,
    ['changes-have-events'],
  ],
  [
    'a change of stock whose event tells of the registration, in the same version',
    `WITH registered AS (
       UPDATE commerce.outbox SET payload = jsonb_set(payload, '{data,version}', (
         SELECT to_jsonb(version) FROM commerce.stock_adjustments WHERE adjustment_id = 'a1'))
       WHERE key = 'p1' AND type = 'ProductRegistered'
       RETURNING event_id)
     UPDATE commerce.stock_adjustments SET event_id = (SELECT event_id FROM registered)
     WHERE adjustment_id = 'a1'`,
    ['changes-have-events', 'log-equals-outbox'],
  ],
  [
    'a change of stock whose event tells of another product, in the same version',
    `UPDATE commerce.stock_adjustments AS adjustment SET event_id = (
       SELECT event_id FROM commerce.outbox WHERE type = 'StockAdjusted' AND key <> 'p1'
         AND payload #>> '{data,version}' = adjustment.version::text LIMIT 1)
     WHERE adjustment_id = 'a1'`,
    ['changes-have-events'],
  ],
  [
    'an event that nobody published',
    `UPDATE commerce.outbox SET published_at = NULL WHERE sequence = 1;
     DELETE FROM collector.event_log WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE sequence = 1);
     DELETE FROM collector.event_handled WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE sequence = 1)`,
    ['delivery'],
  ],
  [
    'an event that the consumer passed over',
    `DELETE FROM collector.event_handled WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE type = 'OrderPlaced' LIMIT 1);
     DELETE FROM collector.event_log WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE type = 'OrderPlaced' LIMIT 1)`,
    ['delivery'],
  ],
  [
    'an event that the consumer has not come to, although it was published long ago',
    `UPDATE commerce.outbox SET "offset" = 1000000 WHERE type = 'OrderPlaced' AND key = 'open';
     DELETE FROM collector.event_handled WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE type = 'OrderPlaced' AND key = 'open');
     DELETE FROM collector.event_log WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE type = 'OrderPlaced' AND key = 'open')`,
    ['delivery'],
  ],
  [
    'an event whose ID a dead letter merely claims',
    `DELETE FROM collector.event_handled WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE type = 'OrderPlaced' AND key = 'open');
     DELETE FROM collector.event_log WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE type = 'OrderPlaced' AND key = 'open');
     INSERT INTO collector.dead_letters
       (topic, partition, "offset", value, value_hash, headers, produced_at, event_id, reason, detail, workflow_id)
     SELECT topic, 5, place, value, '', '[]', now(), event_id, 'INVALID_JSON', '', ''
     FROM commerce.outbox,
       (VALUES (0, 'not json'::bytea), (1, '\\xff'), (2, '{"id": "\\\\u0000"}')) AS letter (place, value)
     WHERE type = 'OrderPlaced' AND key = 'open'`,
    ['delivery'],
  ],
  [
    'an event that vanished before it was read, and has not arrived another way',
    `DELETE FROM collector.event_handled WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE type = 'OrderPlaced' AND key = 'open');
     DELETE FROM collector.event_log WHERE event_id = (SELECT event_id FROM commerce.outbox WHERE type = 'OrderPlaced' AND key = 'open');
     INSERT INTO collector.vanished_offsets (topic, partition, first_offset, last_offset, reason)
     SELECT topic, partition, "offset", NULL, 'TOPIC_MADE_ANEW' FROM commerce.outbox
     WHERE type = 'OrderPlaced' AND key = 'open'`,
    ['delivery', 'vanished-offsets'],
  ],
  [
    'messages that nobody reads again',
    `INSERT INTO collector.replays
       (topic, partition, first_offset, last_offset, next_offset, reason, requested_at)
     VALUES ('order-events', 0, 3, 5, 4, 'UNACCOUNTED', now() - interval '1 day')`,
    ['replays'],
  ],
  [
    'a log that says something else',
    `UPDATE collector.event_log SET payload = jsonb_set(payload, '{data,totalAmount}', '1')
     WHERE type = 'OrderPlaced'`,
    ['log-equals-outbox'],
  ],
  [
    'a handled event that is not logged',
    `INSERT INTO collector.event_handled (event_id, workflow_id) VALUES ('from-nowhere', 'none')`,
    ['handled-is-logged'],
  ],
  [
    'a logged event that is neither handled nor parked',
    `DELETE FROM collector.event_handled WHERE event_id = (SELECT event_id FROM collector.event_log WHERE type = 'OrderPlaced' LIMIT 1)`,
    ['logged-is-handled'],
  ],
  [
    'a wrong count of sales',
    `UPDATE collector.product_metrics SET sales_count = sales_count + 1 WHERE product_id = 'p1'`,
    ['product-metrics'],
  ],
  [
    'metrics of a product that vanished',
    `DELETE FROM collector.product_metrics WHERE product_id = 'p1'`,
    ['product-metrics'],
  ],
  [
    'an old stock under the newest version',
    `UPDATE collector.product_metrics SET stock = 50 WHERE product_id = 'p1'`,
    ['product-metrics', 'stock-agreement'],
  ],
  [
    'a wrong count of likes',
    `UPDATE collector.product_metrics SET like_count = 7 WHERE product_id = 'p2'`,
    ['product-metrics', 'like-agreement'],
  ],
  [
    'a day with a like too many',
    `UPDATE collector.product_metrics_daily SET like_delta = like_delta + 1 WHERE product_id = 'p2'`,
    ['product-metrics-daily'],
  ],
  [
    'a day that no event is of',
    `INSERT INTO collector.product_metrics_daily (product_id, day) VALUES ('p1', '2001-01-01')`,
    ['product-metrics-daily'],
  ],
  [
    'a user whose like was lost',
    `UPDATE collector.product_user_metrics SET liked = NOT liked WHERE product_id = 'p2' AND user_id = 'u1'`,
    ['product-user-metrics'],
  ],
  [
    'a notification that was never delivered',
    `INSERT INTO collector.notifications (event_id, name)
     SELECT event_id, 'sold-out' FROM collector.event_log WHERE type = 'StockAdjusted' LIMIT 1`,
    ['notifications'],
  ],
  [
    'a notification that was refused, and whose event nobody parked',
    `INSERT INTO collector.notifications (event_id, name, status, detail)
     SELECT event_id, 'sold-out', 'refused', '400' FROM collector.event_log
     WHERE type = 'StockAdjusted' LIMIT 1`,
    ['notifications'],
  ],
];

describe('a deliberate damage is found', () => {
  afterEach(() => saved.restore(0));

  test.each(damages)('%s', async (_what, damage, noticedBy) => {
    await stack.pool.query(damage);
    const report = await run();
    expect(failed(report)).toEqual(noticedBy);
    expect(report.holds).toBe(false);
    for (const check of report.checks) expect(check.differences.length > 0).toBe(!check.holds);
  });
});

describe('what may be in flight is no difference', () => {
  afterEach(() => saved.restore(0));

  test('an event that is logged and not yet handled, until ten minutes have passed', async () => {
    await stack.pool.query(`
      DELETE FROM collector.event_handled
      WHERE event_id = (SELECT event_id FROM collector.event_log WHERE type = 'OrderPlaced' LIMIT 1)`);
    expect(failed(await run(600))).toEqual([]);
    await stack.pool.query(
      `UPDATE collector.event_log SET recorded_at = recorded_at - interval '11 minutes'`,
    );
    expect(failed(await run(600))).toEqual(['logged-is-handled']);
  });

  test('a notification that waits for its receiver, or was refused and is parked', async () => {
    await stack.pool.query(`
      INSERT INTO collector.notifications (event_id, name, status)
      SELECT event_id, 'sold-out', CASE type WHEN 'StockAdjusted' THEN 'pending' ELSE 'refused' END
      FROM collector.event_log WHERE type IN ('StockAdjusted', 'OrderPlaced')`);
    expect(failed(await run(600))).toEqual([]);
    await stack.pool.query(`
      UPDATE collector.notifications SET created_at = created_at - interval '11 minutes'
      WHERE status = 'refused';
      ${parkingOrderPlaced('NOTIFICATION_REFUSED')}`);
    expect(failed(await run(600))).toEqual([]);
    await stack.pool.query('DELETE FROM collector.dead_letters');
    expect(failed(await run(600))).toEqual(['notifications']);
  });

  test('an event that is parked, or was redriven a moment ago, but not one redriven long ago', async () => {
    await stack.pool.query(`
      UPDATE collector.event_log SET recorded_at = recorded_at - interval '11 minutes';
      DELETE FROM collector.event_handled
      WHERE event_id IN (SELECT event_id FROM collector.event_log WHERE type = 'OrderPlaced');
      ${parkingOrderPlaced('HANDLING_FAILED')}`);
    expect(failed(await run(600))).toEqual([]);
    await stack.pool.query(
      `UPDATE collector.dead_letters SET status = 'redriven', resolved_at = now()`,
    );
    expect(failed(await run(600))).toEqual([]);
    await stack.pool.query(
      `UPDATE collector.dead_letters SET resolved_at = now() - interval '11 minutes'`,
    );
    expect(failed(await run(600))).toEqual(['logged-is-handled']);
  });

  test('a change of stock that the collector has not heard of', async () => {
    const { changeStock } = createStockActivities(stack);
    await changeStock({ adjustmentId: 'new', productId: 'p1', delta: 3, reason: 'restock' });
    const report = await run(600);
    expect(failed(report)).toEqual([]);
    const agreement = report.checks.find(({ name }) => name === 'stock-agreement');
    expect(agreement?.figures).toMatchObject({ compared: 1, inFlight: 1 });
    expect(failed(await run(0))).toEqual(['delivery']);
  });

  test('a version that the shop has lost, which is told', async () => {
    await stack.pool.query(
      `UPDATE commerce.products SET like_version = like_version - 1 WHERE product_id = 'p2'`,
    );
    const { checks } = await run(600);
    const agreement = checks.find(({ name }) => name === 'like-agreement');
    expect(agreement).toMatchObject({ holds: true, figures: { shopBehind: 1 } });
  });

  test('of two snapshots with one version, either', async () => {
    const { rows } = await stack.pool.query<{ value: string }>(`
      SELECT jsonb_set(jsonb_set(payload, '{id}', '"twin"'), '{data,stock}', '77')::text AS value
      FROM collector.event_log WHERE type = 'StockAdjusted'
        AND aggregate_id = 'p1' ORDER BY (payload -> 'data' ->> 'version')::bigint DESC LIMIT 1`);
    const coordinates = { topic: 'catalog-events', partition: 0, offset: 999, key: 'p1' };
    await createAuditLogActivities(stack).writeAuditLog([
      { ...coordinates, eventId: 'twin', value: rows[0]!.value, headers: [], producedAt: 0 },
    ]);
    await createMetricsActivities(stack).updateMetrics({ eventIds: ['twin'], workflowId: 'twin' });
    expect(failed(await run())).toEqual([]);
  });
});

describe('npm run ops -- verify', () => {
  afterEach(() => saved.restore(0));

  test('ends with 0 and a line a rule', async () => {
    const { exitCode, stdout, stderr } = await runOps(stack, 'verify', '--grace', '0');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength((await run()).checks.length);
    expect(lines.every((line) => line.startsWith('holds'))).toBe(true);
    expect(stdout).not.toContain('\u001b');
  });

  test('ends with 1 and the differences', async () => {
    await stack.pool.query(
      `UPDATE collector.product_metrics SET view_count = 41 WHERE product_id = 'p1'`,
    );
    const text = await runOpsHere(stack, 'verify');
    const json = await runOpsHere(stack, 'verify', '--json');
    expect(text).toMatchObject({ exitCode: 1, stderr: '' });
    expect(text.stdout).toMatch(/DIFFERS +product-metrics/);
    expect(text.stdout).toContain('"view_count":41');
    expect(json.exitCode).toBe(1);
    const report = JSON.parse(json.stdout) as VerificationReport;
    expect(failed(report)).toEqual(['product-metrics']);
  });
});

describe('other commands', () => {
  test('events list pages through the log, the newest first, each once', async () => {
    const { rows } = await stack.pool.query<{ event_id: string }>(
      'SELECT event_id FROM collector.event_log ORDER BY recorded_in DESC, event_id DESC',
    );
    const list = async (...more: string[]) => {
      const { exitCode, stdout } = await runOpsHere(stack, 'events', 'list', '--json', ...more);
      expect(exitCode).toBe(0);
      return JSON.parse(stdout) as { events: { eventId: string; type: string }[]; next?: string };
    };
    const first = await list('--limit', '10');
    const rest = await list('--limit', '1000', '--after', first.next!);
    expect([...first.events, ...rest.events].map(({ eventId }) => eventId)).toEqual(
      rows.map(({ event_id }) => event_id),
    );
    expect(rest.next).toBeUndefined();
    const ofOrder = await list('--aggregate-id', 'confirmed', '--type', 'OrderConfirmed');
    expect(ofOrder.events.map(({ type }) => type)).toEqual(['OrderConfirmed']);
  });

  test('lag tells of every partition', async () => {
    const { exitCode, stdout } = await runOpsHere(stack, 'lag', '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ group: 'commerce-collector', total: 0 });
    expect((JSON.parse(stdout) as { partitions: unknown[] }).partitions).toHaveLength(12);
  });

  test('a dead letter that is not there ends with 1', async () => {
    const { exitCode, stdout, stderr } = await runOpsHere(stack, 'dead-letters', 'show', '123');
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain('no dead letter 123');
  });

  test('an unavailable database exits with 1 and says where to look', async () => {
    const away = {
      environment: { ...stack.environment, DATABASE_URL: 'postgres://a:b@127.0.0.1:1/x' },
    };
    const { exitCode, stderr } = await runOps(away, 'dead-letters', 'list');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('ECONNREFUSED');
    expect(stderr).toContain('cluster -- status');
  });
});
