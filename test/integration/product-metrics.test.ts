import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import type { Event } from '../../events/envelope';
import type { ReceivedEvent } from '../../events/received';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { projections } from '../../projections';
import { emptyProjections } from '../../testkit/projection-model';
import { createStack, type Stack } from '../../testkit/stack';
import { addUp, readAggregates } from '../../testkit/aggregates';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack([]);
});

afterAll(() => stack.stop());

const products = fc.constantFrom('p1', 'p2', 'p3');
const users = fc.constantFrom('u1', 'u2');
const times = fc.date({
  min: new Date('2026-01-01T22:00:00Z'),
  max: new Date('2026-01-03T02:00:00Z'),
  noInvalidDate: true,
});

/** What an event may say, before the versions are dealt out. */
const facts = fc.oneof(
  fc.record({
    type: fc.constant('ProductViewed' as const),
    productId: products,
    userId: fc.option(users, { nil: undefined }),
  }),
  fc.record({
    type: fc.constant('LikeChanged' as const),
    productId: products,
    userId: users,
    liked: fc.boolean(),
    likeCount: fc.nat(5_000),
  }),
  fc.record({
    type: fc.constantFrom('StockAdjusted' as const, 'ProductRegistered' as const),
    productId: products,
    stock: fc.nat(100),
  }),
  fc.record({
    type: fc.constantFrom(
      'OrderPlaced' as const,
      'OrderConfirmed' as const,
      'OrderCancelled' as const,
    ),
    userId: users,
    wasConfirmed: fc.boolean(),
    items: fc.array(
      fc.record({
        productId: products,
        quantity: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constant(Number.MAX_SAFE_INTEGER)),
        unitPrice: fc.nat(100),
      }),
      { minLength: 1, maxLength: 4 },
    ),
  }),
  fc.record({ type: fc.constant('PaymentFailed' as const) }),
);

/** A stream of distinct events; versions count up for each product's stock and likes. */
const streams = fc
  .array(fc.record({ fact: facts, time: times }), { minLength: 1, maxLength: 40 })
  .map((made) => {
    const versions = new Map<string, number>();
    const next = (name: string): number => {
      versions.set(name, (versions.get(name) ?? 0) + 1);
      return versions.get(name)!;
    };
    return made.map(({ fact, time }) => toEvent(fact, time, next));
  });

type Fact = typeof facts extends fc.Arbitrary<infer T> ? T : never;

function toEvent(fact: Fact, time: Date, next: (name: string) => number): Event {
  const subject = 'productId' in fact ? fact.productId : randomUUID();
  const data: Record<string, unknown> =
    'productId' in fact ? { ...fact } : { ...fact, orderId: subject, totalAmount: 0 };
  if (fact.type === 'LikeChanged') data['version'] = next(`likes/${fact.productId}`);
  if ('stock' in fact) data['version'] = next(`stock/${fact.productId}`);
  return {
    specversion: '1.0',
    id: randomUUID(),
    source: '/test',
    type: fact.type,
    subject,
    time: time.toISOString(),
    datacontenttype: 'application/json',
    dataschema: `/schemas/${fact.type}/1`,
    data,
  } as unknown as Event;
}

/** A stream, and a way in which it may be delivered: repeated, in any order, in any batches. */
const deliveries = streams.chain((stream) =>
  fc.record({
    stream: fc.constant(stream),
    batches: fc
      .array(fc.integer({ min: 0, max: stream.length - 1 }), { maxLength: stream.length })
      .chain((repeats) => {
        const all = [...stream, ...repeats.map((index) => stream[index]!)];
        return fc.record({
          order: fc.shuffledSubarray(all, { minLength: all.length }),
          sizes: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 }),
          concurrent: fc.boolean(),
        });
      }),
  }),
);

function split<T>(all: readonly T[], sizes: readonly number[]): T[][] {
  const parts: T[][] = [];
  for (let from = 0, turn = 0; from < all.length; turn += 1) {
    const size = sizes[turn % sizes.length]!;
    parts.push(all.slice(from, from + size));
    from += size;
  }
  return parts;
}

function received(event: Event, value = JSON.stringify(event)): ReceivedEvent {
  return {
    topic: 'catalog-events',
    partition: 0,
    offset: 0,
    eventId: event.id,
    key: event.subject,
    value,
    headers: [],
    producedAt: 0,
  };
}

async function handle(pool: Pool, batch: readonly Event[]): Promise<void> {
  await handleReceived(
    pool,
    batch.map((event) => received(event)),
  );
}

async function handleReceived(pool: Pool, batch: readonly ReceivedEvent[]): Promise<void> {
  await createAuditLogActivities({ pool }).writeAuditLog(batch);
  await createMetricsActivities({ pool }).updateMetrics({
    eventIds: batch.map(({ eventId }) => eventId),
    workflowId: 'test',
  });
}

test('any order, any repeats and any split into batches give the aggregates of a naive model', async () => {
  await fc.assert(
    fc.asyncProperty(deliveries, async ({ stream, batches: { order, sizes, concurrent } }) => {
      await emptyProjections(stack.pool);
      const batches = split(order, sizes);
      if (concurrent) await Promise.all(batches.map((batch) => handle(stack.pool, batch)));
      else for (const batch of batches) await handle(stack.pool, batch);
      expect(await readAggregates(stack.pool)).toEqual(addUp(stream));
    }),
    { numRuns: 150 },
  );
}, 120_000);

const wholeNumber = fc.oneof(
  fc.nat(20),
  fc.integer({ min: 2 ** 52 - 3, max: 2 ** 52 + 3 }),
  fc.integer({ min: Number.MAX_SAFE_INTEGER - 3, max: Number.MAX_SAFE_INTEGER }),
);

/** A whole number, spelled in a way that JSON allows and JavaScript reads as some whole number. */
const spellings = fc
  .tuple(
    wholeNumber,
    fc.constantFrom(
      (number: number) => `${number}`,
      (number: number) => `${number}.0`,
      (number: number) => `${number}.00000000000000000001`,
      (number: number) => `${number - 1}.99999999999999999999`,
      (number: number) => `${number}.4`,
      (number: number) => `${number}.5`,
      (number: number) => `${number}.50000000000000000001`,
      (number: number) => `${number}e0`,
      (number: number) => `${number}.000E+0`,
      () => '0.2E+1',
      () => '1e-400',
      () => '-0.0',
    ),
  )
  .map(([number, spell]) => spell(number))
  .filter((text) => Number.isSafeInteger(Number(text)));

function withoutMinusZero(_: string, value: unknown): unknown {
  return value === 0 ? 0 : value;
}

test('a number counts as what JavaScript reads, however it is spelled', async () => {
  const [productId, userId, wasConfirmed] = ['p1', 'u1', true] as const;
  const told: Fact[] = [
    {
      type: 'OrderConfirmed',
      userId,
      wasConfirmed,
      items: [{ productId, quantity: 7, unitPrice: 1 }],
    },
    { type: 'StockAdjusted', productId, stock: 7 },
    { type: 'LikeChanged', productId, userId, liked: true, likeCount: 7 },
  ];
  const spelled = (text: string, index: number): ReceivedEvent[] =>
    told.map((fact) => {
      const event = toEvent(fact, new Date(), () => 7);
      const value = JSON.stringify(event)
        .replace('"version":7', `"version":${index + 1}.0`)
        .replace('"quantity":7', `"quantity":${Number(text) < 1 ? '1.0' : text}`)
        .replace(/"(stock|likeCount)":7/, `"$1":${text}`);
      return received(event, value);
    });
  await fc.assert(
    fc.asyncProperty(fc.array(spellings, { minLength: 1, maxLength: 5 }), async (texts) => {
      await emptyProjections(stack.pool);
      const batch = texts.flatMap(spelled);
      await handleReceived(stack.pool, batch);
      const read = batch.map(({ value }) => JSON.parse(value, withoutMinusZero) as Event);
      expect(await readAggregates(stack.pool)).toEqual(addUp(read));
    }),
    { numRuns: 150 },
  );
});

test('sums that were stored with fractions are mended by the migration', async () => {
  await emptyProjections(stack.pool);
  await stack.pool.query(`
    INSERT INTO collector.product_metrics (product_id, sales_count)
      VALUES ('p1', 3.00000000000000000001), ('p2', 2.0), ('p3', -0.99999999999999999999), ('p4', 5);
    INSERT INTO collector.product_metrics_daily (product_id, day, sales_count)
      VALUES ('p1', '2026-01-01', 3.00000000000000000001);
    INSERT INTO collector.product_user_metrics (product_id, user_id, purchase_count, last_event_at)
      VALUES ('p1', 'u1', 3.00000000000000000001, now())`);
  const migration = path.join(__dirname, '../../migrations/0012_whole_numbers.sql');
  await stack.pool.query(await readFile(migration, 'utf8'));
  const { product_metrics, product_metrics_daily, product_user_metrics } = await readAggregates(
    stack.pool,
  );
  expect(product_metrics.map((row) => row['sales_count'])).toEqual(['3', '2', '-1', '5']);
  expect(product_metrics_daily).toMatchObject([{ sales_count: '3' }]);
  expect(product_user_metrics).toMatchObject([{ purchase_count: '3' }]);
});

test('reads the events given only, though the log was small when its connection first did so', async () => {
  await emptyProjections(stack.pool);
  const pool = createPool(stack.config.DATABASE_URL, createLogger('test', 'fatal'), {
    applicationName: 'test',
    customPlans: true,
    maxConnections: 1,
  });
  try {
    const events = Array.from({ length: 200 }, () =>
      toEvent({ type: 'ProductViewed', productId: 'p1', userId: 'u1' }, new Date(), () => 1),
    );
    await handle(pool, events.slice(0, 10));
    await pool.query('ANALYZE collector.event_log');
    // A log of a page or two is rather read than looked up in, and from the sixth time on PostgreSQL keeps
    // the plan of a statement, unless one for as many events as were given would be cheaper.
    for (let from = 10; from < 80; from += 10) await handle(pool, events.slice(from, from + 10));
    expect(await readsOfWholeLog(pool, events.slice(80, 90))).toBeGreaterThan(0);
    await pool.query(
      `INSERT INTO collector.event_log
        SELECT copy.* FROM collector.event_log AS event, generate_series(1, 300) AS number,
          jsonb_populate_record(event, jsonb_build_object('event_id', number || event_id)) AS copy`,
    );
    expect(await readsOfWholeLog(pool, events.slice(90, 91))).toBe(0);
    expect(await readsOfWholeLog(pool, events.slice(91))).toBe(0);
  } finally {
    await pool.end();
  }
});

/** How often handling the events reads the whole log. The pool must have one connection. */
async function readsOfWholeLog(pool: Pool, events: readonly Event[]): Promise<number> {
  // What a connection has counted is its own until it is in no transaction any more.
  await pool.query('BEGIN');
  const before = await countedScans(pool);
  await handle(pool, events);
  const after = await countedScans(pool);
  await pool.query('COMMIT');
  return after - before;
}

async function countedScans(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ scans: string }>(
    `SELECT pg_stat_get_xact_numscans('collector.event_log'::regclass) AS scans`,
  );
  return Number(rows[0]!.scans);
}

describe('a metric guarded', () => {
  /** Events that touch every metric of one product and user; a later round has higher versions. */
  const round = (version: number): Event[] => {
    const [productId, userId, wasConfirmed] = ['p1', 'u1', true] as const;
    const items = [{ productId, quantity: version, unitPrice: 1 }];
    const told: Fact[] = [
      { type: 'ProductViewed', productId, userId },
      { type: 'LikeChanged', productId, userId, liked: version % 2 === 1, likeCount: version * 10 },
      { type: 'StockAdjusted', productId, stock: version * 10 },
      { type: 'OrderConfirmed', userId, wasConfirmed, items },
    ];
    return told.map((fact) =>
      toEvent(fact, new Date(Date.UTC(2026, 0, 2, 0, 0, version)), () => version),
    );
  };

  beforeEach(() => emptyProjections(stack.pool));

  const rowOf = async (table: string): Promise<Record<string, unknown>> =>
    (await stack.pool.query<Record<string, unknown>>(`SELECT * FROM collector.${table}`)).rows[0]!;

  const known = projections.filter(({ table }) => table.startsWith('product_'));
  for (const { table, columns } of known) {
    for (const [column, { guard }] of Object.entries(columns)) {
      test(`by ${guard}, ${table}.${column}, is the same after a repeat and after an older event`, async () => {
        const [older, newer] = [round(2), round(3)];
        await handle(stack.pool, newer);
        const after = (await rowOf(table))[column];
        await handle(stack.pool, newer);
        expect((await rowOf(table))[column]).toEqual(after);

        await handle(stack.pool, older);
        const afterOlder = (await rowOf(table))[column];
        // A sum takes the older events in, once; whatever goes by the newest leaves them out.
        if (guard === 'event-id') expect(afterOlder).not.toEqual(after);
        else expect(afterOlder).toEqual(after);
        await handle(stack.pool, [...older, ...newer]);
        expect((await rowOf(table))[column]).toEqual(afterOlder);
      });
    }
  }
});
