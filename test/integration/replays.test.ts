/** Messages that an operator has read again, on real servers: what is missing comes back, what is handled counts once. */
import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import type { replaySchema } from '../../api/pipeline/schemas';
import { messageOf, produce, viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { runOpsHere } from '../../testkit/run-ops';
import { saveTables } from '../../testkit/saved-tables';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

type Replay = z.output<typeof replaySchema>;

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce', 'worker:collector', 'bridge']);
}, 120_000);

afterAll(() => stack?.stop());

/** Views of one product, sent in one batch. */
async function view(product: string, times: number): Promise<ForeignEvent[]> {
  const events = Array.from({ length: times }, () => viewed(product));
  await produce(stack.kafka, 'catalog-events', events.map(messageOf));
  return events;
}

async function countedViews(product: string): Promise<number> {
  const { rows } = await stack.pool.query<{ view_count: number }>(
    'SELECT view_count FROM collector.product_metrics WHERE product_id = $1',
    [product],
  );
  return rows[0]?.view_count ?? 0;
}

async function untilCounted(product: string, views: number): Promise<void> {
  await until(`${views} views are counted`, async () => (await countedViews(product)) === views, {
    timeoutMs: 60_000,
  });
}

async function untilNothingInFlight(): Promise<void> {
  const since = new Date();
  await until('nothing is in flight', async () => {
    const { rows } = await stack.pool.query(
      'SELECT FROM collector.bridges WHERE seen_at > $1 AND in_flight = 0',
      [since],
    );
    return rows.length > 0;
  });
}

async function requested(): Promise<{ requested_by: string; finished: boolean }[]> {
  const { rows } = await stack.pool.query<{ requested_by: string; finished: boolean }>(`
    SELECT requested_by, finished_at IS NOT NULL AS finished FROM collector.replays
    WHERE reason = 'REQUESTED' ORDER BY id`);
  return rows;
}

async function untilFinished(count: number): Promise<void> {
  await until(
    'the replays are finished',
    async () => {
      const all = await requested();
      return all.length === count && all.every(({ finished }) => finished);
    },
    { timeoutMs: 60_000 },
  );
}

async function replay(body: Record<string, unknown>): Promise<{ status: number; body: Replay }> {
  const { status, body: answer } = await stack.call('POST', '/v1/replays', { body });
  return { status, body: answer as Replay };
}

test('a time that the tables have lost is read again, and what they kept counts once', async () => {
  const product = `lamp-${randomUUID()}`;
  const since = new Date();
  await view(product, 10);
  await untilCounted(product, 10);
  const saved = await saveTables(stack.pool);
  await view(product, 5);
  await untilCounted(product, 15);
  // A bridge would handle again by itself what the tables forget while it is in flight.
  await untilNothingInFlight();
  await saved.restore(0);
  expect(await countedViews(product)).toBe(10);

  const time = { since: since.toISOString(), until: new Date(Date.now() + 60_000).toISOString() };
  const tried = await replay({ ...time, dryRun: true });
  expect(tried).toMatchObject({
    status: 200,
    body: { requested: false, messages: 15, repeats: 10 },
  });
  expect(await requested()).toEqual([]);

  const { status, body } = await replay(time);
  expect({ status, body }).toEqual({ status: 202, body: { ...tried.body, requested: true } });

  await untilCounted(product, 15);
  await untilFinished(body.ranges.length);
  expect(await countedViews(product)).toBe(15);
  expect(new Set((await requested()).map((each) => each.requested_by))).toEqual(
    new Set(['operator']),
  );
}, 180_000);

test('an aggregate and offsets are read again by the command line, and change nothing', async () => {
  const product = `kettle-${randomUUID()}`;
  await view(product, 4);
  await untilCounted(product, 4);
  const before = (await requested()).length;

  const tried = await runOpsHere(stack, 'replay', '--aggregate', product, '--dry-run', '--json');
  const { ranges, counted } = JSON.parse(tried.stdout) as {
    ranges: Replay['ranges'];
    counted: unknown;
  };
  expect(counted).toEqual({ messages: 4, repeats: 4 });
  const [{ topic, partition, from, to }] = ranges as [Replay['ranges'][0]];
  expect({ count: ranges.length, messages: to - from + 1 }).toEqual({ count: 1, messages: 4 });

  const place = ['--topic', topic, '--partition', String(partition)];
  // Beyond the end of the log, which is left out.
  const range = ['--from', String(from), '--to', String(to + 1_000_000)];
  const { exitCode, stdout } = await runOpsHere(stack, 'replay', ...place, ...range);
  expect({ exitCode, stdout }).toEqual({
    exitCode: 0,
    stdout: expect.stringContaining('4 messages, 4 of them handled'),
  });
  await untilFinished(before + 1);
  expect(await countedViews(product)).toBe(4);
}, 120_000);

test.each([
  [
    'offsets that Kafka does not have',
    { topic: 'order-events', partition: 0, from: 10_000, to: 20_000 },
  ],
  ['a partition that there is not', { topic: 'order-events', partition: 99, from: 0, to: 1 }],
  ['an aggregate that nobody knows', { aggregateId: 'nobody' }],
])('%s are refused, and nothing is requested', async (_, body) => {
  const before = await requested();

  const { status, body: problem } = await replay(body);

  expect({ status, problem }).toMatchObject({
    status: 409,
    problem: { code: 'NOTHING_TO_REPLAY' },
  });
  expect(await requested()).toEqual(before);
});

test.each([
  ['half of a form', { topic: 'order-events', partition: 0, from: 1 }],
  ['two forms', { aggregateId: 'a', since: '2026-01-01T00:00:00Z', until: '2026-01-02T00:00:00Z' }],
  ['an end before the beginning', { topic: 'order-events', partition: 0, from: 2, to: 1 }],
])('%s is named as invalid', async (_, body) => {
  const { status, body: problem } = await replay(body);

  expect({ status, problem }).toMatchObject({
    status: 400,
    problem: { code: 'VALIDATION_FAILED' },
  });
});
