/**
 * The delivery audit on real servers: what was left behind or lost on the way is put in place by
 * hand, and the audit has to find that, and nothing else.
 */
import { randomUUID } from 'node:crypto';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createShopAuditActivities } from '../../activities/commerce/delivery-audit';
import { createEvent, type Event } from '../../events/envelope';
import type { KafkaSender } from '../../platform/kafka/sender';
import { auditFindings } from '../../platform/observability/telemetry';
import type { DeliveryAuditOptions, DeliveryAuditSummary } from '../../workflows/audit-delivery';
import { registerProduct as registration } from '../../events/commands/register-product';
import { deliveryAuditScheduleId, workflowIds } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
const hourMs = 3_600_000;
let stack: Stack;

beforeAll(async () => {
  // Its schedule must not find first what a test has put in place.
  stack = await createStack(['worker:commerce', 'worker:collector', 'bridge'], {
    AUDIT_INTERVAL_MS: String(24 * hourMs),
  });
});

afterAll(() => stack?.stop());

const atOnce: DeliveryAuditOptions = {
  unpublishedAfterMs: 0,
  unconfirmedAfterMs: 0,
  unhandledAfterMs: 0,
  undecidedAfterMs: 0,
};
const nothing = {
  unpublished: 0,
  republished: 0,
  confirmed: 0,
  undecided: 0,
  unhandled: 0,
  unaccounted: 0,
  undelivered: 0,
};

function audit(options: Partial<DeliveryAuditOptions> = {}): Promise<DeliveryAuditSummary> {
  type Audit = (options: DeliveryAuditOptions) => Promise<DeliveryAuditSummary>;
  return stack.temporal.workflow.execute<Audit>(workflowTypes.auditDelivery, {
    workflowId: `${deliveryAuditScheduleId}-${randomUUID()}`,
    taskQueue: taskQueues.commerce,
    args: [{ ...atOnce, ...options }],
  });
}

/** Confirms what earlier tests have left, so that a summary covers one test only. */
async function untilHealthy(): Promise<void> {
  await until('the audit finds nothing more', async () => {
    const { handledUntil: _, ...found } = await audit();
    return JSON.stringify(found) === JSON.stringify(nothing);
  });
}

async function registerProduct(): Promise<string> {
  const productId = randomUUID();
  await stack.temporal.workflow.execute(registration.name, {
    workflowId: registration.workflowId({ productId }),
    taskQueue: taskQueues.commerce,
    args: [{ productId, name: 'Kettle', price: 1_000, stock: 5 }],
  });
  await until('its event is handled', () =>
    exists('collector.event_handled JOIN collector.event_log USING (event_id)', {
      aggregate_id: productId,
    }),
  );
  return productId;
}

async function exists(from: string, where: Readonly<Record<string, string>>): Promise<boolean> {
  const [[column, value]] = Object.entries(where) as [[string, string]];
  const { rows } = await stack.pool.query(`SELECT FROM ${from} WHERE ${column} = $1`, [value]);
  return rows.length > 0;
}

function adjusted(productId: string): Event {
  const data = { productId, delta: 1, stock: 6, previousStock: 5, version: 2 };
  return createEvent({
    id: randomUUID(),
    type: 'StockAdjusted',
    time: new Date(),
    data: { ...data, reason: 'restock' },
  });
}

interface Mark {
  readonly partition: number | null;
  readonly offset: number | null;
}

/** Puts an event into the outbox. With a mark it claims to be published there, although it is not. */
async function putInOutbox(event: Event, mark?: Mark): Promise<void> {
  await stack.pool.query(
    `INSERT INTO commerce.outbox
       (event_id, topic, key, type, payload, created_at, published_at, partition, "offset")
     VALUES ($1, $2, $3, $4, $5, now() - interval '1 hour', $6, $7, $8)`,
    [
      event.id,
      topic,
      event.subject,
      event.type,
      event,
      mark === undefined ? null : new Date(Date.now() - hourMs),
      mark?.partition ?? null,
      mark?.offset ?? null,
    ],
  );
}

async function rowOf(eventId: string) {
  const { rows } = await stack.pool.query<Mark & { delivered_at: Date | null }>(
    'SELECT partition, "offset", delivered_at FROM commerce.outbox WHERE event_id = $1',
    [eventId],
  );
  return rows[0]!;
}

/** Puts a dead letter in place that names an event. */
async function park(eventId: string, value: string, { partition, offset }: Mark): Promise<void> {
  await stack.pool.query(
    `INSERT INTO collector.dead_letters (topic, partition, "offset", key, value, value_hash, headers,
       produced_at, event_id, reason, detail, workflow_id)
     VALUES ($1, $2, $3, '', $4, sha256($4), '[]', now(), $5, 'TEST', 'by hand', 'by hand')`,
    [topic, partition, offset, Buffer.from(value), eventId],
  );
}

async function redrivenSince(eventId: string, age: string): Promise<void> {
  await stack.pool.query(
    `UPDATE collector.dead_letters SET status = 'redriven', resolved_at = now() - $2::interval
     WHERE event_id = $1`,
    [eventId, age],
  );
}

/** What the shop's worker has logged about an event. */
function linesAbout(eventId: string): Record<string, unknown>[] {
  const lines = stack.running('worker:commerce').flatMap((each) => each.output().split('\n'));
  return lines
    .filter((line) => line.includes(`"eventId":"${eventId}"`))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Where a product's first event went: the bridge has committed beyond it. */
async function passedMark(productId: string): Promise<Mark> {
  const { rows } = await stack.pool.query<Mark>(
    'SELECT partition, "offset" FROM commerce.outbox WHERE key = $1',
    [productId],
  );
  return rows[0]!;
}

test('a healthy system is confirmed, and nothing is found', async () => {
  const productIds = [await registerProduct(), await registerProduct(), await registerProduct()];
  expect(await audit()).toMatchObject({ ...nothing, confirmed: 3 });
  const { rows } = await stack.pool.query<{ delivered_at: Date | null }>(
    'SELECT delivered_at FROM commerce.outbox WHERE key = ANY($1)',
    [productIds],
  );
  expect(rows.map(({ delivered_at }) => delivered_at)).toEqual(Array(3).fill(expect.any(Date)));
  expect(await audit()).toMatchObject(nothing);
});

describe('an event that claims to be published', () => {
  test('and was not, although the bridge has passed its offset, is sent again and arrives', async () => {
    const productId = await registerProduct();
    await untilHealthy();
    const event = adjusted(productId);
    const lie = await passedMark(productId);
    await putInOutbox(event, lie);

    expect(await audit()).toMatchObject({ ...nothing, republished: 1 });
    await until('it is handled', () => exists('collector.event_handled', { event_id: event.id }));
    await until('it is logged', () => linesAbout(event.id).length === 1);
    expect(linesAbout(event.id)).toEqual([
      expect.objectContaining({ msg: expect.stringMatching(/published it again/) }),
    ]);
    const { partition, offset } = await rowOf(event.id);
    expect(partition).toBe(lie.partition);
    expect(offset).toBeGreaterThan(lie.offset!);
    expect(await audit()).toMatchObject({ ...nothing, confirmed: 1 });
  });

  test('without saying where is sent again', async () => {
    const event = adjusted(await registerProduct());
    await untilHealthy();
    await putInOutbox(event, { partition: null, offset: null });
    expect(await audit()).toMatchObject({ ...nothing, republished: 1 });
    await untilHealthy();
    expect((await rowOf(event.id)).delivered_at).toEqual(expect.any(Date));
  });

  test('where the log does not reach is sent again, whatever else comes to its partition', async () => {
    const productId = await registerProduct();
    await untilHealthy();
    const { partition } = await passedMark(productId);
    const beyond = adjusted(productId);
    await putInOutbox(beyond, { partition, offset: 1_000_000 });
    expect(await audit()).toMatchObject({ ...nothing, republished: 1 });
    await until('it is handled', () => exists('collector.event_handled', { event_id: beyond.id }));
    await untilHealthy();
  });

  test('where the bridge has not been yet is left alone', async () => {
    const productId = await registerProduct();
    await untilHealthy();
    await Promise.all(stack.running('bridge').map((bridge) => bridge.end()));
    const event = adjusted(productId);
    await putInOutbox(event);
    expect(await audit()).toMatchObject({ ...nothing, unpublished: 1 });
    await until('it is published', async () => (await rowOf(event.id)).offset !== null);
    expect(await audit()).toMatchObject(nothing);
    await stack.start('bridge');
    await until('it is handled', () => exists('collector.event_handled', { event_id: event.id }));
    await untilHealthy();
  });

  test('and whose ID a dead letter merely claims is sent again', async () => {
    const productId = await registerProduct();
    await untilHealthy();
    const event = adjusted(productId);
    const mark = await passedMark(productId);
    await putInOutbox(event, mark);
    await park(event.id, 'not json', mark);
    expect(await audit()).toMatchObject({ ...nothing, republished: 1 });
    await until('it is handled', () => exists('collector.event_handled', { event_id: event.id }));
    await untilHealthy();
  });

  test('and is parked is left alone until it is redriven and does not arrive', async () => {
    const productId = await registerProduct();
    await untilHealthy();
    const event = adjusted(productId);
    const mark = await passedMark(productId);
    await putInOutbox(event, mark);
    const { rows } = await stack.pool.query<{ payload: object }>(
      'SELECT payload FROM commerce.outbox WHERE event_id = $1',
      [event.id],
    );
    await park(event.id, JSON.stringify(rows[0]!.payload), mark);
    expect(await audit()).toMatchObject(nothing);
    expect((await rowOf(event.id)).delivered_at).toBeNull();

    await redrivenSince(event.id, '1 second');
    expect(await audit()).toMatchObject(nothing);
    await redrivenSince(event.id, '1 hour');
    expect(await audit()).toMatchObject({ ...nothing, republished: 1 });
    await until('it is handled', () => exists('collector.event_handled', { event_id: event.id }));
    await untilHealthy();
  });

  test('whose workflow is open is left alone until that has ended without logging it', async () => {
    const productId = await registerProduct();
    await untilHealthy();
    const event = adjusted(productId);
    const handling = await stack.temporal.workflow.start(workflowTypes.handleEvent, {
      workflowId: event.id,
      taskQueue: 'nobody-works-here',
      args: [],
    });
    await putInOutbox(event, await passedMark(productId));
    expect(await audit()).toMatchObject(nothing);
    await handling.terminate();
    expect(await audit()).toMatchObject({ ...nothing, republished: 1 });
    await until('it is handled', () => exists('collector.event_handled', { event_id: event.id }));
    await untilHealthy();
  });

  test('is found behind more than a page of events that cannot be confirmed', async () => {
    const productId = await registerProduct();
    await untilHealthy();
    await stack.pool.query(
      `INSERT INTO commerce.outbox
         (event_id, topic, key, type, payload, created_at, published_at, partition, "offset")
       SELECT 'stuck-' || number, 'a-topic-that-is-missing', 'stuck', 'StockAdjusted', '{}',
         now() - interval '1 hour', now() - interval '1 hour', 0, 1000000
       FROM generate_series(1, 2500) AS number`,
    );
    const event = adjusted(productId);
    await putInOutbox(event, await passedMark(productId));
    expect(await audit()).toMatchObject({ ...nothing, republished: 1 });
    await stack.pool.query(`DELETE FROM commerce.outbox WHERE key = 'stuck'`);
    await until('it is handled', () => exists('collector.event_handled', { event_id: event.id }));
    await untilHealthy();
  });
});

test('events that nobody has published are published, and each is logged', async () => {
  const productId = await registerProduct();
  await untilHealthy();
  const events = [adjusted(productId), adjusted(productId), adjusted(productId)];
  for (const event of events) await putInOutbox(event);
  expect(await audit({ unpublishedAfterMs: 2 * hourMs })).toMatchObject(nothing);
  expect(events.flatMap(({ id }) => linesAbout(id))).toEqual([]);
  expect(await audit()).toMatchObject({ ...nothing, unpublished: 3 });
  for (const { id } of events) {
    await until('it is logged', () => linesAbout(id).length === 1);
    expect(linesAbout(id)).toEqual([
      expect.objectContaining({ msg: expect.stringMatching(/overdue to be published/) }),
    ]);
    await until('it is handled', () => exists('collector.event_handled', { event_id: id }));
  }
  const [event] = events as [Event];
  const publishing = stack.temporal.workflow.getHandle(workflowIds.publishEvents(event.id));
  await publishing.result();
  await untilHealthy();
});

test('an event that stays unpublished is logged and counted once, however often the audit looks', async () => {
  const event = adjusted(await registerProduct());
  await untilHealthy();
  const { findUnpublished } = createShopAuditActivities({
    pool: stack.pool,
    sender: {} as KafkaSender,
  });
  const look = () =>
    new MockActivityEnvironment().run(findUnpublished, {
      before: Date.now(),
      after: 0,
      limit: 100,
    });
  const counted = async () => (await auditFindings.get()).values[0]!.value;
  const before = await counted();
  await putInOutbox(event);
  expect(await look()).toMatchObject({ events: 1, firstEventId: event.id });
  expect(await look()).toMatchObject({ events: 1, firstEventId: event.id });
  expect(await counted()).toBe(before + 1);
  expect(await audit()).toMatchObject({ ...nothing, unpublished: 1 });
  await until('it is handled', () => exists('collector.event_handled', { event_id: event.id }));
  await untilHealthy();
});

test('an event that is logged but not handled is handled, though its workflow has once ended', async () => {
  const productId = await registerProduct();
  await untilHealthy();
  const event = adjusted(productId);
  const ended = await stack.temporal.workflow.start(workflowTypes.handleEvent, {
    workflowId: event.id,
    taskQueue: 'nobody-works-here',
    args: [],
  });
  await ended.terminate();
  await stack.pool.query(
    `INSERT INTO collector.event_log
       (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, recorded_at, payload)
     VALUES ($1, $2, $3, 0, 0, $4, $5, now() - interval '1 hour', $6)`,
    [event.id, event.type, topic, productId, event.time, event],
  );
  expect(await audit({ unhandledAfterMs: 2 * hourMs })).toMatchObject(nothing);
  expect(await audit()).toMatchObject({ ...nothing, unhandled: 1 });
  await until('it is handled', () => exists('collector.event_handled', { event_id: event.id }));
  const { rows } = await stack.pool.query(
    'SELECT stock FROM collector.product_metrics WHERE product_id = $1',
    [productId],
  );
  expect(rows).toEqual([{ stock: 6 }]);
});

test('an order that is undecided is carried on to its decision', async () => {
  const productId = await registerProduct();
  await untilHealthy();
  const orderId = randomUUID();
  await stack.pool.query(
    `WITH placed AS (
       INSERT INTO commerce.orders (order_id, user_id, status, total_amount, created_at)
       VALUES ($1, 'user-1', 'PLACED', 1000, now() - interval '1 hour') RETURNING order_id)
     INSERT INTO commerce.order_items (order_id, product_id, quantity, unit_price)
     SELECT order_id, $2, 1, 1000 FROM placed`,
    [orderId, productId],
  );
  expect(await audit({ undecidedAfterMs: 2 * hourMs })).toMatchObject(nothing);
  expect(await audit()).toMatchObject({ ...nothing, undecided: 1 });
  await until('it is decided', () =>
    exists(`(SELECT * FROM commerce.orders WHERE status = 'CANCELLED') AS decided`, {
      order_id: orderId,
    }),
  );
  await stack.temporal.workflow.getHandle(workflowIds.placeOrder(orderId)).result();
});

test('a cancellation that was answered with 202 and that Temporal has forgotten is carried out', async () => {
  const api = await stack.start('api');
  const productId = await registerProduct();
  const shopper = { as: 'shopper', userId: 'ann' } as const;
  const items = [{ productId, quantity: 1 }];
  const placed = await stack.call('POST', '/v1/orders', {
    ...shopper,
    body: { items, paymentToken: 'tok_approve' },
  });
  expect(placed.status).toBe(201);
  const { orderId } = placed.body as { orderId: string };
  const handle = stack.temporal.workflow.getHandle(workflowIds.placeOrder(orderId));
  await handle.result();
  const cancel = () =>
    stack.call('POST', `/v1/orders/${orderId}/cancel`, { ...shopper, body: { reason: 'regret' } });
  await stack.cluster.stop('payments');
  try {
    await whileLocked('commerce.requested_cancellations', async () => {
      const unrecorded = await cancel();
      expect(unrecorded).toMatchObject({ status: 503, body: { code: 'DATABASE_UNAVAILABLE' } });
      expect(unrecorded.headers.get('retry-after')).not.toBeNull();
    });
    expect((await cancel()).status).toBe(202);
    await handle.terminate('as if a failover had lost it');
  } finally {
    await stack.cluster.start('payments');
  }
  expect(await audit({ undecidedAfterMs: 2 * hourMs })).toMatchObject({ undecided: 0 });
  expect(await statusOf(orderId)).toMatchObject({ status: 'CONFIRMED' });
  expect(await audit()).toMatchObject({ undecided: 1 });
  const cancelled = await until('it is cancelled', async () => {
    const order = await statusOf(orderId);
    return order.status === 'CANCELLED' ? order : undefined;
  });
  expect(cancelled).toMatchObject({ cause: 'requested', reason: 'regret', payment: 'refunded' });
  await untilHealthy();
  expect(await exists('commerce.requested_cancellations', { order_id: orderId })).toBe(false);
  await api.end();
}, 120_000);

async function statusOf(orderId: string) {
  const { rows } = await stack.pool.query<
    Record<'status' | 'cause' | 'reason' | 'payment', string>
  >(
    `SELECT orders.status, cause, orders.reason, payments.status AS payment
     FROM commerce.orders LEFT JOIN commerce.payments USING (order_id) WHERE order_id = $1`,
    [orderId],
  );
  return rows[0]!;
}

async function whileLocked(table: string, work: () => Promise<void>): Promise<void> {
  const holder = await stack.pool.connect();
  try {
    await holder.query('BEGIN');
    await holder.query('SET LOCAL idle_in_transaction_session_timeout = 0');
    await holder.query(`LOCK TABLE ${table}`);
    await work();
  } finally {
    await holder.query('ROLLBACK');
    holder.release();
  }
}

test('the schedule is there once, as the worker that started last wants it, and runs the audit', async () => {
  const schedule = stack.temporal.schedule.getHandle(deliveryAuditScheduleId);
  await until('it is there', () => schedule.describe());
  await schedule.pause('a person has paused it');
  await Promise.all(
    [1, 2].map(() => stack.start('worker:commerce', { AUDIT_INTERVAL_MS: String(12 * hourMs) })),
  );
  const described = await until('it has the new interval', async () => {
    const now = await schedule.describe();
    return now.spec.intervals?.[0]?.every === 12 * hourMs ? now : undefined;
  });
  expect(described.policies.overlap).toBe('SKIP');
  expect(described.state.paused).toBe(true);
  await schedule.trigger();
  const { workflow } = await until('it has run', async () => {
    const { info } = await schedule.describe();
    return info.recentActions[0]?.action;
  });
  expect(workflow.workflowId).toMatch(new RegExp(`^${deliveryAuditScheduleId}-`));
  const summary = await stack.temporal.workflow.getHandle(workflow.workflowId).result();
  expect(summary).toMatchObject({ unpublished: 0, republished: 0, unhandled: 0, undecided: 0 });
});
