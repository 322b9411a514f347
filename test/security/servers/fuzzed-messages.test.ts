/**
 * Threat: whoever may write to a topic sends bytes that crash the collector, block a partition, or
 * make a message vanish: random bytes, and events with something broken, in both topics.
 *
 * `FUZZ_MESSAGES=50000` makes it a long test; `FUZZ_SEED` repeats a run.
 */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { eventTopics, partitionsPerTopic } from '../../../events/topics';
import { readConsumerLag, totalLag } from '../../../platform/kafka/consumer-lag';
import { events } from '../../../testkit/event-arbitraries';
import {
  sendWithForeignClient,
  toForeignMessage,
  type ForeignMessage,
} from '../../../testkit/foreign-messages';
import { foreignEvent, viewed } from '../../../testkit/foreign-producer';
import { createStack, type Stack } from '../../../testkit/stack';
import { until } from '../../../testkit/until';
import { readSeed, readSize } from '../fuzzing';

const size = readSize('FUZZ_MESSAGES', 300);
const timeoutMs = 180_000 + size * 100;

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['bridge', 'worker:collector'], { BRIDGE_MODE: 'coalesce' });
}, 120_000);

afterAll(() => stack?.stop());

const topics = fc.constantFrom(...eventTopics);

/** Valid events, each with an ID of its own, so that none is rejected as a duplicate. */
const valid = fc
  .tuple(events, fc.uuid())
  .map(([event, id]) => toForeignMessage({ ...event, id: `fuzz-${id}` }));

/** Messages that are nothing, or no event, or nearly one. */
const arbitrary: fc.Arbitrary<ForeignMessage> = fc.oneof(
  { weight: 3, arbitrary: valid },
  {
    weight: 1,
    arbitrary: fc.record({ topic: topics, key: fc.string(), value: randomBytes(2_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      topic: topics,
      key: fc.string(),
      value: fc.json().map((text) => Buffer.from(text)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(valid, fc.nat(), fc.jsonValue(), fc.string()).map(withBrokenField),
  },
  { weight: 2, arbitrary: fc.tuple(valid, fc.nat(), randomBytes(8)).map(withBrokenBytes) },
  {
    weight: 1,
    arbitrary: fc.tuple(valid, topics).map(([message, topic]) => ({ ...message, topic })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(valid, fc.string()).map(([message, key]) => ({ ...message, key })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(valid, headers()).map(([message, more]) => ({ ...message, headers: more })),
  },
);

function randomBytes(maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
}

function headers() {
  return fc.array(fc.tuple(randomBytes(20), randomBytes(100)), { maxLength: 5 });
}

/** In the envelope or in the data. */
function withBrokenField([message, index, value, name]: [ForeignMessage, number, unknown, string]) {
  const event = JSON.parse(String(message.value)) as { data: object };
  const whole = index % 2 === 0;
  const part = whole ? event : event.data;
  const names = [...Object.keys(part), name];
  const broken = { ...part, [names[(index >> 1) % names.length]!]: value };
  const text = JSON.stringify(whole ? broken : { ...event, data: broken });
  return { ...message, value: Buffer.from(text) };
}

function withBrokenBytes([message, place, bytes]: [ForeignMessage, number, Buffer]) {
  const value = Buffer.from(message.value!);
  const from = place % value.byteLength;
  const cut = Buffer.concat([value.subarray(0, from), bytes, value.subarray(from + bytes.length)]);
  return { ...message, value: place % 3 === 0 ? cut.subarray(0, from) : cut };
}

async function count(table: string): Promise<number> {
  const { rows } = await stack.pool.query<{ rows: number }>(
    `SELECT count(*)::int AS rows FROM collector.${table}`,
  );
  return rows[0]!.rows;
}

async function lag(): Promise<number> {
  const { kafka, config } = stack;
  return totalLag(await readConsumerLag(kafka, config.BRIDGE_GROUP_ID, eventTopics));
}

test(
  `${size} messages of every kind are all accounted for, each in the log or among the dead letters`,
  async () => {
    const messages = fc.sample(arbitrary, { seed: readSeed(), numRuns: size });
    const pids = pidsOf();
    const begun = Date.now();
    await sendWithForeignClient(stack, messages);
    await until(
      'everything is logged or parked, and nothing is left in Kafka',
      async () =>
        (await count('event_log')) + (await count('dead_letters')) >= size && (await lag()) === 0,
      { timeoutMs, pollMs: 500 },
    );
    await until('what is logged is handled or parked', async () => (await notHandled()) === 0, {
      timeoutMs,
      pollMs: 500,
    });
    const [logged, parked] = [await count('event_log'), await count('dead_letters')];
    const seconds = ((Date.now() - begun) / 1_000).toFixed(1);
    console.info(
      `${size} fuzzed messages in ${seconds} s: ${logged} logged, ${parked} parked\n` +
        (await reasons()).join('\n'),
    );
    // What is logged and then cannot be counted is parked as well.
    expect(logged + parked - (await loggedAndParked())).toBe(size);
    expect(logged).toBeGreaterThan(size / 10);
    expect(parked).toBeGreaterThan(size / 10);
    expect(pidsOf()).toEqual(pids);
  },
  timeoutMs * 2,
);

test('no partition is stuck: new events of each are handled', async () => {
  const fresh = Array.from({ length: 96 }, (_, index) => {
    const id = `after-${index}-${randomUUID()}`;
    return index % 2 === 0
      ? viewed(id)
      : foreignEvent('PaymentFailed', id, { orderId: id, amount: 1, reason: 'x' });
  });
  const messages = fresh.map((event) => ({
    topic: event.type === 'PaymentFailed' ? 'order-events' : 'catalog-events',
    key: event.subject,
    value: Buffer.from(JSON.stringify(event)),
  }));
  await sendWithForeignClient(stack, messages);
  const ids = fresh.map(({ id }) => id);
  await until('they are handled', async () => {
    const { rows } = await stack.pool.query<{ rows: number }>(
      'SELECT count(*)::int AS rows FROM collector.event_handled WHERE event_id = ANY($1)',
      [ids],
    );
    return rows[0]!.rows === ids.length;
  });
  const { rows } = await stack.pool.query<{ partitions: number }>(
    `SELECT count(DISTINCT (topic, partition))::int AS partitions
     FROM collector.event_log WHERE event_id = ANY($1)`,
    [ids],
  );
  // 48 keys for the six partitions of each topic: that one gets none happens once in a thousand runs.
  expect(rows[0]!.partitions).toBeGreaterThanOrEqual(2 * partitionsPerTopic - 1);
}, 60_000);

function pidsOf(): number[] {
  return [...stack.running('bridge'), ...stack.running('worker:collector')].map(({ pid }) => pid);
}

async function notHandled(): Promise<number> {
  const { rows } = await stack.pool.query<{ rows: number }>(`
    SELECT count(*)::int AS rows FROM collector.event_log l
    WHERE NOT EXISTS (SELECT FROM collector.event_handled h WHERE h.event_id = l.event_id)
      AND NOT EXISTS (SELECT FROM collector.dead_letters d WHERE d.event_id = l.event_id)`);
  return rows[0]!.rows;
}

async function loggedAndParked(): Promise<number> {
  const { rows } = await stack.pool.query<{ rows: number }>(`
    SELECT count(*)::int AS rows FROM collector.dead_letters d
    JOIN collector.event_log l USING (topic, partition, "offset")`);
  return rows[0]!.rows;
}

async function reasons(): Promise<string[]> {
  const { rows } = await stack.pool.query<{ reason: string; rows: number }>(
    'SELECT reason, count(*)::int AS rows FROM collector.dead_letters GROUP BY reason ORDER BY reason',
  );
  return rows.map(({ reason, rows: each }) => `${reason}: ${each}`);
}
