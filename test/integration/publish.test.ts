import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import { appendToOutbox } from '../../activities/commerce/outbox';
import { createPublishActivities, type Aggregate } from '../../activities/commerce/publish';
import { createEvent, type Event } from '../../events/envelope';
import { createKafka, type KafkaClient } from '../../platform/kafka/client';
import { createKafkaSender, type KafkaSender } from '../../platform/kafka/sender';
import { createLogger } from '../../platform/observability/logger';
import { createPool, inTransaction } from '../../platform/postgres/pool';
import { readTopic } from '../../testkit/topic-reader';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
const logger = createLogger('test', 'silent');
let stack: Stack;
let kafka: KafkaClient;

/** One relay, as a worker has it: a pool and a sender of its own. */
interface Relay {
  readonly pool: Pool;
  readonly sender: KafkaSender;
  publish(...keys: string[]): Promise<void>;
}

const relays: Relay[] = [];

beforeAll(async () => {
  stack = await createStack([]);
  kafka = createKafka(stack.config, logger, { clientId: 'relay-test', requestTimeoutMs: 5_000 });
});

afterEach(async () => {
  await Promise.all(
    relays.splice(0).map(async ({ pool, sender }) => {
      await sender.stop();
      await pool.end();
    }),
  );
});

afterAll(() => stack?.stop());

async function createRelay(idleInTransactionTimeoutMs = 20_000): Promise<Relay> {
  const pool = createPool(stack.config.DATABASE_URL, logger, {
    applicationName: 'test-relay',
    maxConnections: 4,
    idleInTransactionTimeoutMs,
  });
  const sender = createKafkaSender(kafka, logger, { retries: 1 });
  const { publishOutbox } = createPublishActivities({ relayPool: pool, sender });
  const relay: Relay = {
    pool,
    sender,
    publish: (...keys) => publishOutbox(keys.map((key): Aggregate => ({ topic, key }))),
  };
  relays.push(relay);
  await until('the relay is connected', () => sender.isConnected());
  return relay;
}

/** Publishes as a workflow does: retries until it succeeds. */
async function publishPatiently(relay: Relay, key: string): Promise<void> {
  await until(
    `${key} is published`,
    () =>
      relay.publish(key).then(
        () => true,
        (error: unknown) => {
          throw error;
        },
      ),
    { timeoutMs: 20_000, pollMs: 20 },
  );
}

function stockEvents(productId: string, count: number, firstVersion = 2): Event[] {
  return Array.from({ length: count }, (_, index) =>
    createEvent({
      id: randomUUID(),
      type: 'StockAdjusted',
      time: new Date(),
      data: {
        productId,
        delta: 1,
        stock: firstVersion + index,
        previousStock: firstVersion + index - 1,
        reason: 'restock',
        version: firstVersion + index,
      },
    }),
  );
}

async function commit(...events: Event[]): Promise<void> {
  await inTransaction(stack.pool, (connection) => appendToOutbox(connection, events));
}

interface OutboxEntry {
  readonly event_id: string;
  readonly published_at: Date | null;
  readonly partition: number | null;
  readonly offset: number | null;
}

/** The outbox rows of an aggregate in the order of their commits. */
async function outboxOf(key: string): Promise<OutboxEntry[]> {
  const { rows } = await stack.pool.query<OutboxEntry>(
    `SELECT event_id, published_at, partition, "offset" FROM commerce.outbox
     WHERE topic = $1 AND key = $2 ORDER BY sequence`,
    [topic, key],
  );
  return rows;
}

async function readIdsOf(key: string): Promise<string[]> {
  const messages = await readTopic(stack.kafka, topic);
  return messages
    .filter((message) => message.key === key)
    .map(({ value }) => (JSON.parse(value) as Event).id);
}

test('eight relays publish 200 events of five aggregates at once: each, in order, where the row says', async () => {
  const keys = Array.from({ length: 5 }, (_, index) => `together-${index}`);
  const eight = await Promise.all(Array.from({ length: 8 }, () => createRelay()));
  // Committed while they are being published: each event has its workflow, on one of the relays.
  const left = keys.flatMap((key) => stockEvents(key, 40));
  const inTurns = left.map((_, index) => left[(index % 5) * 40 + Math.floor(index / 5)]!);
  const publications: Promise<void>[] = [];
  for (const [index, event] of inTurns.entries()) {
    await commit(event);
    publications.push(publishPatiently(eight[index % 8]!, event.subject));
  }
  await Promise.all(publications);

  const messages = await readTopic(stack.kafka, topic);
  const places = messages.map(({ value, partition, offset, key, headers }) => {
    const { id } = JSON.parse(value) as Event;
    expect(String(headers['ce_id'])).toBe(id);
    return { id, key, partition, offset };
  });
  for (const key of keys) {
    const rows = await outboxOf(key);
    expect(rows).toHaveLength(40);
    expect(rows.every(({ published_at }) => published_at !== null)).toBe(true);
    const own = places.filter((place) => place.key === key);
    expect(own.map(({ id }) => id)).toEqual(rows.map(({ event_id }) => event_id));
    expect(own.map(({ partition, offset }) => ({ partition, offset }))).toEqual(
      rows.map(({ partition, offset }) => ({ partition, offset })),
    );
  }
}, 60_000);

test('one turn publishes several aggregates together, and asking again publishes nothing', async () => {
  const relay = await createRelay();
  await commit(...stockEvents('a', 3), ...stockEvents('b', 2));
  await relay.publish('a', 'b', 'without-events');
  await relay.publish('a', 'b');
  expect(await readIdsOf('a')).toEqual((await outboxOf('a')).map(({ event_id }) => event_id));
  expect(await readIdsOf('b')).toEqual((await outboxOf('b')).map(({ event_id }) => event_id));
});

test('more events than one round takes are published in order', async () => {
  const relay = await createRelay();
  await commit(...stockEvents('many', 1_100));
  await relay.publish('many');
  const rows = await outboxOf('many');
  expect(rows.filter(({ published_at }) => published_at === null)).toEqual([]);
  expect(await readIdsOf('many')).toEqual(rows.map(({ event_id }) => event_id));
});

test('a relay that is frozen with the lock does not block the aggregate for ever', async () => {
  const [frozen, next] = [await createRelay(2_000), await createRelay()];
  const events = stockEvents('frozen', 3);
  await commit(...events);
  // It has the lock and never continues: to PostgreSQL an idle transaction.
  const connection = await frozen.pool.connect();
  const ended = new Promise<Error>((resolve) => connection.on('error', resolve));
  await connection.query('BEGIN');
  await connection.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `outbox/${topic}/frozen`,
  ]);
  try {
    const failure = await next.publish('frozen').catch((error: unknown) => error);
    expect(failure).toMatchObject({ type: 'AGGREGATE_BUSY', nonRetryable: false });
    expect((await outboxOf('frozen')).map(({ published_at }) => published_at)).toEqual([
      null,
      null,
      null,
    ]);
    // Another aggregate is not held up by it, also in the same call.
    await commit(...stockEvents('unfrozen', 1));
    await next.publish('frozen', 'unfrozen').catch(() => undefined);
    expect((await outboxOf('unfrozen'))[0]?.published_at).not.toBeNull();

    expect(await ended).toMatchObject({ code: '25P03' });
    await next.publish('frozen');
    expect(await readIdsOf('frozen')).toEqual(events.map(({ id }) => id));
  } finally {
    connection.release(true);
  }
});

test('while Kafka is stopped it fails so that a retry helps, and the events stay to be published', async () => {
  const relay = await createRelay();
  const unavailable = { type: 'KAFKA_UNAVAILABLE', nonRetryable: false };
  const events = stockEvents('outage', 3);
  await commit(events[0]!);
  await relay.publish('outage');
  await stack.cluster.stop('kafka');
  try {
    await commit(...events.slice(1));
    await expect(relay.publish('outage')).rejects.toMatchObject(unavailable);
    // Known to be unavailable: rejected at once, without a PostgreSQL connection for the lock.
    const startedAt = performance.now();
    await expect(relay.publish('outage')).rejects.toMatchObject(unavailable);
    expect(performance.now() - startedAt).toBeLessThan(500);
    const rows = await outboxOf('outage');
    expect(rows.map(({ published_at }) => published_at === null)).toEqual([false, true, true]);
  } finally {
    await stack.cluster.start('kafka');
  }
  await publishPatiently(relay, 'outage');
  expect(await readIdsOf('outage')).toEqual(events.map(({ id }) => id));
}, 60_000);
