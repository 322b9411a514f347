/** Consumption that an operator holds or bounds, on real servers: nothing is lost, and no restart ends it. */
import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import type { statusSchema } from '../../api/status/schemas';
import { watchConsumptionHolds } from '../../bridge/consumption-holds';
import { eventTopics } from '../../events/topics';
import { createLogger } from '../../platform/observability/logger';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import {
  foreignEvent,
  messageOf,
  produce,
  viewed,
  type ForeignEvent,
} from '../../testkit/foreign-producer';
import { runOpsHere } from '../../testkit/run-ops';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { startSteadyLoad, type SteadyLoad } from '../../testkit/steady-load';
import { until } from '../../testkit/until';

type Status = z.output<typeof statusSchema>;

const reason = 'the database is being moved';
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce', 'worker:collector']);
}, 120_000);

afterAll(() => stack?.stop());

afterEach(async () => {
  const { body } = await stack.call('GET', '/v1/pipeline');
  for (const { topic, partition } of (body as NonNullable<Status['consumption']>).holds) {
    const scope = { ...(topic && { topic }), ...(partition !== null && { partition }) };
    await stack.call('POST', '/v1/pipeline/resume', { body: { ...scope, reason: 'tried' } });
  }
  await endBridges();
});

async function endBridges(): Promise<void> {
  await Promise.all(stack.running('bridge').map((bridge) => bridge.end()));
}

async function startBridges(mode: string): Promise<RunningProcess[]> {
  return Promise.all([1, 2].map(() => stack.start('bridge', { BRIDGE_MODE: mode })));
}

/** The committed offsets in words, so that they can be compared. */
async function readCommitted(topic?: string): Promise<string> {
  const partitions = await readConsumerLag(stack.kafka, stack.config.BRIDGE_GROUP_ID, eventTopics);
  return partitions
    .filter((each) => topic === undefined || each.topic === topic)
    .map((each) => `${each.topic}/${each.partition}@${each.committed}`)
    .join(' ');
}

async function readLag(): Promise<number> {
  return totalLag(await readConsumerLag(stack.kafka, stack.config.BRIDGE_GROUP_ID, eventTopics));
}

/** Waits until what was taken before the hold is committed. */
async function untilStill(): Promise<string> {
  let seen = '';
  let stillFor = 0;
  return until(
    'nothing is committed any more',
    async () => {
      const now = await readCommitted();
      stillFor = now === seen ? stillFor + 1 : 0;
      seen = now;
      return stillFor >= 4 ? now : undefined;
    },
    { timeoutMs: 60_000, pollMs: 500 },
  );
}

async function readStatus(): Promise<Status> {
  return (await stack.call('GET', '/v1/status')).body as Status;
}

async function missing(ids: readonly string[]): Promise<number> {
  const { rows } = await stack.pool.query<{ missing: number }>(
    `SELECT count(*)::int AS missing FROM unnest($1::text[]) AS sent (event_id)
     LEFT JOIN collector.event_log USING (event_id)
     LEFT JOIN collector.event_handled USING (event_id)
     WHERE event_log.event_id IS NULL OR event_handled.event_id IS NULL`,
    [ids],
  );
  return rows[0]!.missing;
}

const idsOf = (events: readonly ForeignEvent[]): string[] => events.map(({ id }) => id);

/** An event of the other topic. */
function refusedPayment(): ForeignEvent {
  const orderId = randomUUID();
  return foreignEvent('PaymentFailed', orderId, { orderId, amount: 5, reason: 'declined' });
}

/** Views of a product, at a steady rate. */
function startViews(sent: string[]): SteadyLoad {
  return startSteadyLoad(stack.kafka, 'catalog-events', 50, (turn) => {
    const event = viewed(`lamp-${turn % 7}`);
    return { messages: [messageOf(event)], onSent: () => void sent.push(event.id) };
  });
}

test.each(['per-event', 'coalesce'])(
  '%s: consumption paused under load loses nothing, and stays paused through a restart of every bridge',
  async (mode) => {
    const sent: string[] = [];
    await startBridges(mode);
    const load = startViews(sent);
    await until('the load is handled', async () => sent.length > 20 && (await missing(sent)) < 20, {
      timeoutMs: 60_000,
    });

    const held = await stack.call('POST', '/v1/pipeline/pause', { body: { reason } });
    expect(held.body).toMatchObject({ holds: [{ topic: null, partition: null, reason }] });
    const before = await untilStill();
    await endBridges();
    const bridges = await startBridges(mode);
    const sentBefore = sent.length;
    await until('more has come', async () => sent.length > sentBefore + 60, { timeoutMs: 30_000 });

    expect(await readCommitted()).toBe(before);
    const status = await readStatus();
    expect(status.problems).toContainEqual(
      expect.objectContaining({
        code: 'CONSUMPTION_HELD',
        detail: expect.stringContaining(`all of it, by operator: ${reason}`),
        runbook: 'docs/runbook.md#consumptionheld',
      }),
    );
    for (const { url } of bridges) {
      const readiness = await fetch(`${url}/readyz`);
      expect(readiness.status).toBe(200);
      expect(await readiness.json()).toMatchObject({ bridge: { pausedBy: ['held'] } });
    }

    await load.stop();
    const resumed = await stack.call('POST', '/v1/pipeline/resume', { body: { reason: 'moved' } });
    expect(resumed.body).toMatchObject({ holds: [] });
    await until('all of it is handled', async () => (await missing(sent)) === 0, {
      timeoutMs: 60_000,
    });
    const { rows } = await stack.pool.query<{ views: number }>(
      `SELECT sum(view_count)::int AS views FROM collector.product_metrics WHERE product_id LIKE 'lamp-%'`,
    );
    const { rows: logged } = await stack.pool.query<{ count: number }>(
      `SELECT count(*)::int FROM collector.event_log WHERE aggregate_id LIKE 'lamp-%'`,
    );
    expect(rows[0]!.views).toBe(logged[0]!.count);
  },
  180_000,
);

test('a partition that is held waits, and the others go on, also after a rebalance', async () => {
  await startBridges('coalesce');
  const body = { topic: 'catalog-events', partition: 0, reason };
  await stack.call('POST', '/v1/pipeline/pause', { body });
  await untilStill();
  // A rebalance, in which partition 0 may change hands.
  await stack.start('bridge', { BRIDGE_MODE: 'coalesce' });
  const inEach = [0, 1, 2].map((partition) => ({ event: viewed('a-kettle'), partition }));
  await produce(
    stack.kafka,
    'catalog-events',
    inEach.map(({ event, partition }) => ({ ...messageOf(event), partition })),
  );

  const [first, ...others] = inEach.map(({ event }) => event.id);
  await until('the others are handled', async () => (await missing(others)) === 0, {
    timeoutMs: 60_000,
  });
  expect(await missing([first!])).toBe(1);

  const again = await stack.call('POST', '/v1/pipeline/pause', { body });
  expect(again).toMatchObject({ status: 409, body: { code: 'CONSUMPTION_HELD' } });
  const all = await stack.call('POST', '/v1/pipeline/resume', { body: { reason } });
  expect(all).toMatchObject({ status: 409, body: { code: 'CONSUMPTION_NOT_HELD' } });
  await stack.call('POST', '/v1/pipeline/resume', { body });
  await until('it is handled', async () => (await missing([first!])) === 0, { timeoutMs: 60_000 });
}, 120_000);

test('a bound on the rate holds for all bridges together, and is lifted', async () => {
  await startBridges('coalesce');
  const ops = async (...words: string[]) =>
    JSON.parse((await runOpsHere(stack, ...words, '--json')).stdout) as object;
  expect(await ops('throttle', '10', '--reason', reason, '--by', 'ann')).toMatchObject({
    limit: { messagesPerSecond: 10, by: 'ann', reason },
  });
  await until('the bridges know', async () => (await readStatus()).bridges?.length === 2);
  await untilStill();
  const events = Array.from({ length: 300 }, () => viewed('a-pot'));
  const ids = events.map(({ id }) => id);
  await produce(stack.kafka, 'catalog-events', events.map(messageOf));

  const from = performance.now();
  await until('some of it is handled', async () => (await missing(ids)) < 300, {
    timeoutMs: 60_000,
  });
  await until('ten seconds are over', async () => performance.now() - from > 10_000, {
    timeoutMs: 20_000,
  });
  const handled = 300 - (await missing(ids));
  // A slice of each bridge is taken at once.
  expect(handled).toBeLessThanOrEqual(10 * ((performance.now() - from) / 1_000) + 20);
  expect((await readStatus()).problems).toContainEqual(
    expect.objectContaining({ code: 'CONSUMPTION_THROTTLED' }),
  );

  expect(await ops('throttle', 'off', '--reason', 'fast again')).toMatchObject({ limit: null });
  await until('all of it is handled', async () => (await missing(ids)) === 0, {
    timeoutMs: 60_000,
  });
  expect(await readLag()).toBe(0);
}, 180_000);

test('a bound on the rate of a topic bounds no other, and holds beside that of everything', async () => {
  const throttle = async (body: object) =>
    stack.call('POST', '/v1/pipeline/throttle', { body: { reason, ...body } });
  const sharesOf = async (): Promise<(number | undefined)[]> => {
    const logger = createLogger('test', 'silent');
    const holds = watchConsumptionHolds({ database: stack.pool, logger });
    await holds.untilKnown(new AbortController().signal);
    await holds.stop();
    return [null, ...eventTopics].map((topic) => holds.limit(topic));
  };
  await startBridges('coalesce');
  await until('both are seen', async () => (await readStatus()).bridges?.length === 2);
  await throttle({ topic: 'catalog-events', messagesPerSecond: 1 });
  const { status, body } = await throttle({ topic: 'catalog-events', messagesPerSecond: 4 });
  expect({ status, body }).toMatchObject({
    status: 200,
    body: { limit: null, topicLimits: [{ topic: 'catalog-events', messagesPerSecond: 4 }] },
  });
  await untilStill();
  const slow = Array.from({ length: 100 }, () => viewed('a-bounded-pot'));
  const others = Array.from({ length: 100 }, () => refusedPayment());
  await produce(stack.kafka, 'catalog-events', slow.map(messageOf));
  await produce(stack.kafka, 'order-events', others.map(messageOf));

  await until('the others are handled', async () => (await missing(idsOf(others))) === 0, {
    timeoutMs: 60_000,
  });
  expect(await missing(idsOf(slow))).toBeGreaterThan(0);
  expect((await readStatus()).problems).toContainEqual(
    expect.objectContaining({
      code: 'CONSUMPTION_THROTTLED',
      detail: expect.stringContaining('at most 4 messages per second of catalog-events'),
    }),
  );

  await throttle({ messagesPerSecond: 10 });
  expect(await sharesOf()).toEqual([5, 2, undefined]);
  // No bridge can write its heartbeat any more: each takes its part all the same.
  await endBridges();
  await stack.pool.query(`
    INSERT INTO collector.bridges (bridge_id, mode, in_flight, slots, paused_by, seen_at)
    SELECT 'frozen-' || number, 'coalesce', 0, 1, '{}', now() - interval '1 hour'
    FROM generate_series(1, 2) AS number`);
  expect(await sharesOf()).toEqual([5, 2, undefined]);

  await stack.pool.query(`DELETE FROM collector.bridges WHERE bridge_id LIKE 'frozen-%'`);
  await throttle({ messagesPerSecond: null });
  const lifted = await throttle({ topic: 'catalog-events', messagesPerSecond: null });
  expect(lifted.body).toMatchObject({ limit: null, topicLimits: [] });
  await startBridges('coalesce');
  await until('all of it is handled', async () => (await missing(idsOf(slow))) === 0, {
    timeoutMs: 60_000,
  });
}, 180_000);

test('a bound that is set while a backlog is worked off is kept from then on, and lifted', async () => {
  const throttle = async (messagesPerSecond: number | null) =>
    stack.call('POST', '/v1/pipeline/throttle', {
      body: { reason, topic: 'catalog-events', messagesPerSecond },
    });
  const backlog = Array.from({ length: 600 }, (_, index) => viewed(`kettle-${index % 24}`));
  const ids = idsOf(backlog);
  await produce(stack.kafka, 'catalog-events', backlog.map(messageOf));
  // One by one, so that it takes a while.
  await startBridges('per-event');
  await until('some of it is handled', async () => (await missing(ids)) < ids.length, {
    timeoutMs: 60_000,
  });
  await throttle(4);
  let left = ids.length;
  let slowSeconds = 0;
  await until(
    'what was taken before is handled',
    async () => {
      const before = left;
      left = await missing(ids);
      // A busy machine may have a slow second with all of it still to come.
      slowSeconds = before - left <= 8 ? slowSeconds + 1 : 0;
      return slowSeconds === 3;
    },
    { timeoutMs: 60_000, pollMs: 1_000 },
  );
  expect(left).toBeGreaterThan(100);

  const from = performance.now();
  await until('ten seconds are over', async () => performance.now() - from > 10_000, {
    timeoutMs: 20_000,
  });
  const handled = left - (await missing(ids));
  const seconds = (performance.now() - from) / 1_000;
  expect(handled).toBeGreaterThan(1.5 * seconds);
  expect(handled).toBeLessThanOrEqual(4 * seconds + 12);

  await throttle(null);
  await until('all of it is handled', async () => (await missing(ids)) === 0, {
    timeoutMs: 60_000,
    pollMs: 500,
  });
}, 240_000);
