/**
 * Messages whose workflow Temporal acknowledged and then lost, as in a failover: the group has committed
 * them, and nobody has them. The audit finds them by their offsets, and the bridge reads them again.
 */
import { randomUUID } from 'node:crypto';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createUnaccountedOffsetsActivities } from '../../activities/collector/unaccounted-offsets';
import { createVanishedOffsetsActivities } from '../../activities/collector/vanished-offsets';
import { deliveryAuditScheduleId } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { foreignEvent, messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import type { DeliveryAuditOptions, DeliveryAuditSummary } from '../../workflows/audit-delivery';
import { skipToEnd } from '../faults/forgetting';

const topic = 'catalog-events';
const atOnce: DeliveryAuditOptions = {
  unpublishedAfterMs: 0,
  unconfirmedAfterMs: 0,
  unhandledAfterMs: 0,
  undecidedAfterMs: 0,
};
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['worker:commerce', 'worker:collector', 'bridge'], {
    // Its schedule must not find first what the test has put in place.
    AUDIT_INTERVAL_MS: String(24 * 3_600_000),
  });
});

afterAll(() => stack?.stop());

/** What the audits have found so far. */
let unaccounted = 0;

async function audit(): Promise<DeliveryAuditSummary> {
  type Audit = (options: DeliveryAuditOptions) => Promise<DeliveryAuditSummary>;
  const summary = await stack.temporal.workflow.execute<Audit>(workflowTypes.auditDelivery, {
    workflowId: `${deliveryAuditScheduleId}-${randomUUID()}`,
    taskQueue: taskQueues.commerce,
    args: [atOnce],
  });
  unaccounted += summary.unaccounted;
  return summary;
}

async function count(from: string, values: unknown[] = []): Promise<number> {
  const { rows } = await stack.pool.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM ${from}`,
    values,
  );
  return rows[0]!.count;
}

const handled = (ids: readonly string[]): Promise<number> =>
  count('collector.event_handled WHERE event_id = ANY($1)', [ids]);
const parked = (): Promise<number> => count('collector.dead_letters');

function views(number: number): ReturnType<typeof viewed>[] {
  return Array.from({ length: number }, (_, index) => viewed(`product-${index % 7}`));
}

/** Sends messages that the group then counts as read, without anybody having read them. */
async function lose(messages: Parameters<typeof produce>[2]): Promise<void> {
  await stack.running('bridge')[0]!.end();
  await produce(stack.kafka, topic, messages);
  await skipToEnd(stack, topic);
  await stack.start('bridge');
}

/** Sends messages in a transaction. */
async function inTransaction(
  end: 'commit' | 'abort',
  events: readonly ReturnType<typeof viewed>[],
): Promise<void> {
  const producer = stack.kafka.producer({ transactionalId: randomUUID(), maxInFlightRequests: 1 });
  await producer.connect();
  try {
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: events.map(messageOf) });
    await transaction[end]();
  } finally {
    await producer.disconnect();
  }
}

const poison = { key: 'poison', value: 'no event' };
const before = views(30);
const lost = views(20);

test('messages that nobody has are handled or parked, once; duplicates and parked ones are left alone', async () => {
  // What a healthy group leaves behind: duplicates, which have no row of their own, and a dead letter.
  await produce(stack.kafka, topic, [...before, ...before.slice(0, 5)].map(messageOf));
  await produce(stack.kafka, topic, [poison]);
  const ids = before.map(({ id }) => id);
  await until('all is handled', async () => (await handled(ids)) === 30 && (await parked()) === 1);
  await until('its offsets are due', async () => {
    await audit();
    return (await count('collector.partition_progress WHERE due > 0')) > 3;
  });

  // What a transaction leaves has no row, either: its markers, and what it took back.
  await inTransaction('commit', views(3));
  await inTransaction('abort', views(3));

  // One of the same ID and another content is to be parked, too.
  const conflict = foreignEvent('ProductViewed', 'product-1', { productId: 'product-1' });
  // Its copies are the same dead letter.
  const conflicts = Array<typeof conflict>(3).fill({ ...conflict, id: ids[0]! });
  await lose([...lost, ...before.slice(0, 3), ...conflicts].map(messageOf));
  await produce(stack.kafka, topic, [messageOf(viewed('product-1'))]);
  const lostIds = lost.map(({ id }) => id);
  expect(await handled(lostIds)).toBe(0);
  await until('all are handled, and what is no event of its own is parked', async () => {
    await audit();
    return (await handled(lostIds)) === 20 && (await parked()) >= 2;
  });
  expect(unaccounted).toBe(23);
  const { rows } = await stack.pool.query<{ views: number }>(
    'SELECT sum(view_count)::int AS views FROM collector.product_metrics',
  );
  expect(rows[0]!.views).toBe(54);
}, 120_000);

test('a lost message that is no event is parked', async () => {
  await audit();
  const letters = await parked();
  await lose([poison]);
  await until('it is parked', async () => {
    await audit();
    return (await parked()) === letters + 1;
  });
}, 120_000);

test('afterwards nothing is found, and each replay has come to its end', async () => {
  await untilAccounted();
  expect(unaccounted).toBe(24);
  expect(await count('collector.replays WHERE confirmed_at IS NULL')).toBe(0);
}, 60_000);

test('a replay whose message is lost once more is begun again', async () => {
  const eventId = lost[0]!.id;
  const { rows } = await stack.pool.query<{ partition: number; offset: number }>(
    `WITH gone AS (DELETE FROM collector.event_handled WHERE event_id = $1)
     DELETE FROM collector.event_log WHERE event_id = $1 RETURNING partition, "offset"`,
    [eventId],
  );
  const { partition, offset } = rows[0]!;
  await stack.pool.query(
    `UPDATE collector.replays SET confirmed_at = NULL
     WHERE partition = $1 AND $2 BETWEEN first_offset AND last_offset`,
    [partition, offset],
  );
  await until('it is handled', async () => {
    await audit();
    return (await handled([eventId])) === 1;
  });
  expect(unaccounted).toBe(25);
}, 60_000);

test('a partition that cannot be read is told, and holds up no other', async () => {
  await untilAccounted();
  await stack.pool.query(`
    INSERT INTO collector.partition_progress
      (topic, partition, committed, log_start, log_end, accounted, due, due_at)
    VALUES ('absent-events', 0, 5, 0, 5, 0, 5, now() - interval '1 hour');
    UPDATE collector.partition_progress SET accounted = log_start
    WHERE topic = '${topic}' AND due > 0`);
  await expect(account()).rejects.toThrow();
  expect(
    await count(`collector.partition_progress WHERE accounted < due AND topic = '${topic}'`),
  ).toBe(0);
  await stack.pool.query(`DELETE FROM collector.partition_progress WHERE topic = 'absent-events'`);
}, 60_000);

test('of a group that was set back, what it reads again is accounted for again', async () => {
  await stack.pool.query(
    `UPDATE collector.partition_progress SET accounted = due + 7, due = due + 7, due_at = now()`,
  );
  await account();
  expect(await count('collector.partition_progress WHERE accounted > committed')).toBe(0);
});

test('a log that was cut is accounted for from its start', async () => {
  await stack.pool.query(
    `UPDATE collector.partition_progress SET log_end = log_end + 7 WHERE topic = '${topic}'`,
  );
  await vanishedOffsets().noteProgress();
  expect(await count('collector.partition_progress WHERE accounted = log_start')).toBeGreaterThan(
    3,
  );
  await untilAccounted();
  expect(unaccounted).toBe(25);
}, 60_000);

async function untilAccounted(): Promise<void> {
  await until('all is accounted for', async () => {
    const { unaccounted: found } = await audit();
    const due = await count('collector.partition_progress WHERE accounted < committed');
    return found === 0 && due === 0;
  });
}

/** The activity by itself: the workflow would try it again. */
function account(): Promise<number> {
  const environment = new MockActivityEnvironment();
  const { accountForOffsets } = createUnaccountedOffsetsActivities(stack);
  return environment.run(accountForOffsets, { before: Date.now() });
}

function vanishedOffsets() {
  const activities = createVanishedOffsetsActivities({
    ...stack,
    groupId: stack.config.BRIDGE_GROUP_ID,
  });
  const environment = new MockActivityEnvironment();
  return { noteProgress: () => environment.run(activities.noteProgress) };
}
