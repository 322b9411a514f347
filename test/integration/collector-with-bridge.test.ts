/**
 * Bridge and worker in one process, which Temporal answers with a workflow's first task at once. What
 * it does to events is in collector.test.ts; here is what is different.
 */
import { defaultSlots } from '../../bridge/bridge';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { preloading } from '../faults/altered';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';

// Kafka takes a megabyte at once.
const viewsPerRequest = 1_000;

let stack: Stack;

beforeEach(async () => {
  stack = await createStack([]);
});

afterEach(() => stack.stop());

async function produceViews(count: number): Promise<string[]> {
  const events = Array.from({ length: count }, () => viewed('lamp'));
  for (let from = 0; from < count; from += viewsPerRequest) {
    const some = events.slice(from, from + viewsPerRequest);
    await produce(stack.kafka, topic, some.map(messageOf));
  }
  return events.map(({ id }) => id);
}

async function countedViews(): Promise<number> {
  const { rows } = await stack.pool.query<{ count: number }>(
    `SELECT view_count::int AS count FROM collector.product_metrics WHERE product_id = 'lamp'`,
  );
  return rows[0]?.count ?? 0;
}

async function untilAllAreCounted(views: number): Promise<void> {
  // The tasks that a killed process had are given to another after ten seconds.
  await until('all are counted', async () => (await countedViews()) >= views, {
    timeoutMs: 90_000,
  });
  await until('all are committed', async () => {
    const { kafka, config } = stack;
    return totalLag(await readConsumerLag(kafka, config.BRIDGE_GROUP_ID, [topic])) === 0;
  });
  await until('nothing is open', async () => {
    const { count } = await stack.temporal.workflow.count('ExecutionStatus = "Running"');
    return count === 0;
  });
  expect(await countedViews()).toBe(views);
}

async function waitingForLocks(): Promise<number> {
  const { rows } = await stack.pool.query<{ waiting: number }>(
    `SELECT count(*)::int AS waiting FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows[0]!.waiting;
}

/** Whether it came with the answer to the start; and it has been done, not lost and given once more. */
async function firstTaskCameAtOnce(workflowId: string): Promise<boolean> {
  const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
  expect(events?.filter((event) => event.workflowTaskTimedOutEventAttributes)).toEqual([]);
  return events?.[0]?.workflowExecutionStartedEventAttributes?.eagerExecutionAccepted === true;
}

async function readyz(collector: RunningProcess): Promise<unknown> {
  return (await fetch(`${collector.url}/readyz`)).json();
}

test("the first task of an event's workflow comes with the answer to its start", async () => {
  await stack.start('collector');
  for (let count = 1; count <= 5; count += 1) {
    const [eventId] = await produceViews(1);
    await untilAllAreCounted(count);
    expect(await firstTaskCameAtOnce(eventId!)).toBe(true);
  }
}, 180_000);

test('with versions of workers no first task is asked for: Temporal chooses the version', async () => {
  await stack.start('collector', { TEMPORAL_DEPLOYMENT_NAME: 'shop' });
  const [eventId] = await produceViews(1);
  await untilAllAreCounted(1);
  expect(await firstTaskCameAtOnce(eventId!)).toBe(false);
}, 180_000);

describe.each([
  { mode: 'per-event', views: 500 },
  // More than the batches of two slots hold.
  { mode: 'coalesce', views: 5_000 },
])('with BRIDGE_MODE=$mode', ({ mode, views }) => {
  test('killed between an effect and its confirmation, another takes over, and each view counts once', async () => {
    const doomed = await stack.launch('collector', {
      ...preloading('breakpoint'),
      BRIDGE_MODE: mode,
      // So that not all can be counted before it dies.
      BRIDGE_MAX_IN_FLIGHT: '2',
      FAULT_BREAKPOINT: 'after:metrics-update',
    });
    await produceViews(views);
    await until('it is dead', () => !stack.running('collector').includes(doomed));
    expect(await doomed.end()).toBe(null);
    expect(await countedViews()).toBeGreaterThan(0);
    expect(await countedViews()).toBeLessThan(views);

    await stack.start('collector', { BRIDGE_MODE: mode });
    await untilAllAreCounted(views);
  }, 180_000);

  test('stopped with work in progress it ends in time, another takes over, and each view counts once', async () => {
    // So few that a slow machine can finish them in the time that it has for stopping.
    const first = await stack.start('collector', {
      BRIDGE_MODE: mode,
      BRIDGE_MAX_IN_FLIGHT: '50',
    });
    await produceViews(1);
    await untilAllAreCounted(1);

    const database = await stack.pool.connect();
    try {
      await database.query('BEGIN');
      await database.query('SELECT FROM collector.product_metrics FOR UPDATE');
      await produceViews(views);
      await until('it waits for the row', async () => (await waitingForLocks()) > 0);
      const ended = first.end();
      await until('it stops', () => first.output().includes('"msg":"stopping"'));
      await database.query('ROLLBACK');
      expect(await ended).toBe(0);
    } finally {
      database.release();
    }

    await stack.start('collector', { BRIDGE_MODE: mode });
    await untilAllAreCounted(views + 1);
  }, 180_000);
});

test('while Temporal is unavailable the bridge waits, and resumes when it is back', async () => {
  const collector = await stack.start('collector');
  await produceViews(1);
  await untilAllAreCounted(1);
  await stack.cluster.stop('temporal');
  try {
    await produceViews(20);
    await until('it waits for Temporal', async () => {
      expect(await readyz(collector)).toMatchObject({
        bridge: { pausedBy: expect.arrayContaining(['temporal-away']) },
      });
      return true;
    });
  } finally {
    await stack.cluster.start('temporal');
  }
  await untilAllAreCounted(21);
  await until('it does not wait any more', async () => {
    expect(await readyz(collector)).toMatchObject({ bridge: { pausedBy: [] } });
    return true;
  });
  expect(stack.running('collector')).toEqual([collector]);
}, 180_000);

test('it exports the metrics of a bridge and of a worker, and stops on request', async () => {
  const collector = await stack.start('collector');
  const metrics = await (await fetch(`${collector.url}/metrics`)).text();
  expect(metrics).toContain(`commerce_bridge_slots ${defaultSlots('per-event')}`);
  expect(metrics).toContain('# TYPE commerce_events_handled_total counter');
  expect(metrics).not.toContain('commerce_orders_decided_total');
  await until('it is ready', async () => {
    expect(await readyz(collector)).toMatchObject({
      dependencies: {
        postgres: { status: 'up' },
        redis: { status: 'up' },
        kafka: { status: 'up' },
        'kafka-consumer': { status: 'up' },
        temporal: { status: 'up' },
      },
      bridge: { pausedBy: [], slots: defaultSlots('per-event') },
    });
    return true;
  });
  expect(await collector.end()).toBe(0);
}, 180_000);
