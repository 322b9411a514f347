import { randomUUID } from 'node:crypto';
import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import { rebuildMetrics } from '../../operations/metrics-rebuild';
import { verify } from '../../operations/verification';
import {
  foreignEvent,
  messageOf,
  produce,
  type ForeignEvent,
} from '../../testkit/foreign-producer';
import { runOpsHere } from '../../testkit/run-ops';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['bridge', 'worker:collector'], { BRIDGE_MODE: 'coalesce' });
});

afterAll(() => stack.stop());

/** An event of any type that metrics are made of, about one of a few products and users. */
function anyEvent(index: number): ForeignEvent {
  const productId = `product-${index % 7}`;
  const userId = `user-${index % 13}`;
  const time = new Date(Date.UTC(2026, 0, 1 + (index % 4), 12)).toISOString();
  const order = { orderId: randomUUID(), userId, totalAmount: 5 };
  const items = [{ productId, quantity: 1 + (index % 3), unitPrice: 5 }];
  switch (index % 5) {
    case 0:
      return foreignEvent('ProductViewed', productId, { productId, userId }, { time });
    case 1: {
      const stock = { stock: index, previousStock: index, delta: 0, reason: 'correction' };
      return foreignEvent(
        'StockAdjusted',
        productId,
        { productId, ...stock, version: index },
        { time },
      );
    }
    case 2: {
      const like = { liked: index % 2 === 0, likeCount: index, version: index };
      return foreignEvent('LikeChanged', productId, { productId, userId, ...like }, { time });
    }
    case 3:
      return foreignEvent('OrderConfirmed', order.orderId, { ...order, items }, { time });
    default: {
      const { orderId } = order;
      const data = { orderId, userId, items, reason: 'none', wasConfirmed: index % 2 === 0 };
      return foreignEvent('OrderCancelled', orderId, data, { time });
    }
  }
}

const topicOf = ({ type }: ForeignEvent) =>
  type.startsWith('Order') ? 'order-events' : 'catalog-events';

async function damageMetrics(): Promise<void> {
  await stack.pool.query(`
    UPDATE collector.product_metrics SET view_count = view_count + 1000, stock = -5, like_version = 9e9
    WHERE product_id = 'product-1';
    DELETE FROM collector.product_metrics_daily WHERE product_id = 'product-2';
    INSERT INTO collector.product_user_metrics (product_id, user_id, purchase_count, last_event_at)
    VALUES ('nothing', 'nobody', 3, now())`);
}

const failedChecks = async (): Promise<string[]> => {
  const { pool, kafka, config } = stack;
  const { checks } = await verify(
    { pool, kafka, groupId: config.BRIDGE_GROUP_ID },
    { graceSeconds: 600 },
  );
  return checks.filter(({ holds }) => !holds).map(({ name }) => name);
};

const metricChecks = ['product-metrics', 'product-metrics-daily', 'product-user-metrics'];

test('metrics that are wrong are right again, and those that are right are left alone', async () => {
  const events = Array.from({ length: 500 }, (_, index) => anyEvent(index + 1));
  await handleDirectly(events, 100);
  const rowsBefore = await rowVersions();
  const untouched = await rebuildMetrics(stack.pool, { chunkSize: 64 });
  expect(untouched).toMatchObject({
    events: 500,
    tables: {
      product_metrics: { changed: 0, added: 0, removed: 0 },
      product_metrics_daily: { changed: 0, added: 0, removed: 0 },
      product_user_metrics: { changed: 0, added: 0, removed: 0 },
    },
  });
  expect(await rowVersions()).toEqual(rowsBefore);

  await damageMetrics();
  expect(await failedChecks()).toEqual(metricChecks);
  const report = await rebuildMetrics(stack.pool);
  expect(report.tables).toEqual({
    product_metrics: { changed: 1, added: 0, removed: 0 },
    product_metrics_daily: { changed: 0, added: 4, removed: 0 },
    product_user_metrics: { changed: 0, added: 0, removed: 1 },
  });
  expect(await failedChecks()).toEqual([]);
});

test('an event that is logged but not handled is not counted, and counts once when it is', async () => {
  const events = Array.from({ length: 10 }, (_, index) => anyEvent(index * 5));
  await log(events);
  await rebuildMetrics(stack.pool);
  expect(await failedChecks()).toEqual([]);
  await handleDirectly(events, 10);
  await rebuildMetrics(stack.pool);
  expect(await failedChecks()).toEqual([]);
});

test('repeated rebuilds under heavy updates lose and double none, and no reader sees a gap', async () => {
  const before = await totals();
  const events = Array.from({ length: 6_000 }, (_, index) => anyEvent(index + 1));
  await log(events);
  const state = { handling: true };
  const handling = Promise.all(
    Array.from({ length: 6 }, (_, lane) =>
      handleDirectly(
        events.filter((_event, index) => index % 6 === lane),
        10,
      ),
    ),
  ).finally(() => {
    state.handling = false;
  });
  const reading = (async () => {
    let seen = before;
    while (state.handling) {
      const now = await totals();
      // Views only ever grow: fewer would be a gap.
      expect(now.views).toBeGreaterThanOrEqual(seen.views);
      seen = now;
    }
  })();
  const rebuilding = [1, 2].map(async () => {
    let rounds = 0;
    while (state.handling) {
      await rebuildMetrics(stack.pool, { chunkSize: 1_000 });
      rounds += 1;
    }
    return rounds;
  });
  await Promise.all([handling, reading]);
  for (const rounds of await Promise.all(rebuilding)) expect(rounds).toBeGreaterThan(1);
  expect(await failedChecks()).toEqual([]);
  const views = events.filter(({ type }) => type === 'ProductViewed').length;
  expect((await totals()).views).toBe(before.views + views);
}, 120_000);

test('rebuilding by command under the load of a foreign producer ends with no difference', async () => {
  const state = { producing: true };
  const sent: ForeignEvent[] = [];
  const producing = (async () => {
    for (let burst = 0; state.producing && burst < 200; burst += 1) {
      const events = Array.from({ length: 50 }, (_, index) => anyEvent(burst * 50 + index + 1));
      for (const topic of ['catalog-events', 'order-events']) {
        const own = events.filter((event) => topicOf(event) === topic).map(messageOf);
        // Every burst has repeats of its own.
        await produce(stack.kafka, topic, [...own, ...own.slice(0, 5)]);
      }
      sent.push(...events);
    }
  })();
  try {
    await until('events are being handled', async () => (await countHandled(sent)) > 100);
    for (let round = 1; round <= 3; round += 1) {
      if (round === 2) await damageMetrics();
      const { exitCode, stdout } = await runOpsHere(stack, 'rebuild-metrics', '--json');
      expect(exitCode).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ events: expect.any(Number) as number });
      expect(await failedChecks()).toEqual([]);
    }
  } finally {
    state.producing = false;
    await producing;
  }
  await until('all are handled', async () => (await countHandled(sent)) === sent.length, {
    timeoutMs: 60_000,
  });
  expect(await failedChecks()).toEqual([]);
}, 180_000);

test('writers that never let go make it give up with nothing changed', async () => {
  const writer = await stack.pool.connect();
  try {
    await writer.query('BEGIN; LOCK TABLE collector.event_handled IN ROW EXCLUSIVE MODE');
    const steps: string[] = [];
    await expect(
      rebuildMetrics(stack.pool, {
        lockTimeoutMs: 1,
        onProgress: ({ step }) => steps.push(step),
      }),
    ).rejects.toMatchObject({ code: 'REBUILD_LOCK_BUSY' });
    expect(steps).not.toContain('correcting');
  } finally {
    await writer.query('ROLLBACK');
    writer.release();
  }
  expect(await failedChecks()).toEqual([]);
});

async function log(events: readonly ForeignEvent[]): Promise<void> {
  const { writeAuditLog } = createAuditLogActivities({ pool: stack.pool });
  await writeAuditLog(
    events.map((event, index) => ({
      topic: topicOf(event),
      partition: 0,
      offset: index,
      eventId: event.id,
      key: event.subject,
      value: JSON.stringify(event),
      headers: [],
      producedAt: 0,
    })),
  );
}

/** Logs and handles events as the worker does, but without Temporal between. */
async function handleDirectly(events: readonly ForeignEvent[], batchSize: number): Promise<void> {
  const { updateMetrics } = createMetricsActivities({ pool: stack.pool });
  await log(events);
  for (let from = 0; from < events.length; from += batchSize) {
    const eventIds = events.slice(from, from + batchSize).map(({ id }) => id);
    await updateMetrics({ eventIds, workflowId: 'by hand' });
  }
}

async function countHandled(events: readonly ForeignEvent[]): Promise<number> {
  const { rowCount } = await stack.pool.query(
    'SELECT FROM collector.event_handled WHERE event_id = ANY($1)',
    [events.map(({ id }) => id)],
  );
  return rowCount ?? 0;
}

async function totals(): Promise<{ views: number }> {
  const { rows } = await stack.pool.query<{ views: number }>(
    'SELECT coalesce(sum(view_count), 0) AS views FROM collector.product_metrics',
  );
  return rows[0]!;
}

/** Which transaction wrote each row: unchanged where a row was not written. */
async function rowVersions() {
  const { rows } = await stack.pool.query(`
    SELECT product_id AS key, xmin::text FROM collector.product_metrics
    UNION ALL SELECT product_id || day, xmin::text FROM collector.product_metrics_daily
    UNION ALL SELECT product_id || user_id, xmin::text FROM collector.product_user_metrics
    ORDER BY 1`);
  return rows;
}
