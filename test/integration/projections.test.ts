/** Every projection, whatever it is of: it holds what a naive model says, however events arrive. */
import type { Pool } from 'pg';
import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { recordDue } from '../../activities/collector/notifications/outbox';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import type { Event } from '../../events/envelope';
import { eventTypes, type EventType } from '../../events/schemas';
import { rebuildMetrics } from '../../operations/metrics-rebuild';
import { projections } from '../../projections';
import {
  columnTypes,
  newestMigration,
  releasedProjections,
  unreleasedTables,
} from '../../projections/definition';
import { assertNotRefused, assertTablesMatch, readUnbuilt } from '../../projections/state';
import { effects, negative, nothing, when } from '../../projections/effects';
import { planMigration } from '../../projections/migration';
import { maximum, newest, projection, sum, type Projection } from '../../projections/projection';
import { differences, liveUpdate } from '../../projections/statements';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { createForeignEvents } from '../../testkit/foreign-messages';
import {
  addUpProjections,
  emptyProjections,
  readProjections,
  type Rows,
} from '../../testkit/projection-model';
import { createRandom } from '../../testkit/random';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack([]);
});

afterAll(() => stack.stop());

async function log(pool: Pool, batch: readonly Event[]): Promise<void> {
  const received = batch.map((event) => ({
    ...{ topic: 'catalog-events', partition: 0, offset: 0, producedAt: 0, headers: [] },
    ...{ eventId: event.id, key: event.subject, value: JSON.stringify(event) },
  }));
  await createAuditLogActivities({ pool }).writeAuditLog(received);
}

async function handle(pool: Pool, batch: readonly Event[]): Promise<void> {
  await log(pool, batch);
  const eventIds = batch.map(({ id }) => id);
  await createMetricsActivities({ pool }).updateMetrics({ eventIds, workflowId: 'test' });
}

/** Each event at least once, some again, in any order, in batches of any size. */
function deliveriesOf(stream: readonly Event[], seed: number): Event[][] {
  const random = createRandom(seed);
  const repeated = random.shuffle([...stream, ...stream.filter(() => random.below(3) === 0)]);
  const batches: Event[][] = [];
  while (repeated.length > 0) batches.push(repeated.splice(0, 1 + random.below(30)));
  return batches;
}

const seeds = Array.from({ length: 20 }, (_, index) => index + 1);

test.each(seeds)(
  'any order, any repeats, any batches, some at once, and a rebuild come to the model (stream %i)',
  async (seed) => {
    const stream = createForeignEvents(120, createRandom(seed));
    await emptyProjections(stack.pool);
    const batches = deliveriesOf(stream, seed);
    if (seed % 2 === 0) await Promise.all(batches.map((batch) => handle(stack.pool, batch)));
    else for (const batch of batches) await handle(stack.pool, batch);

    const expected = addUpProjections(stream);
    for (const { table } of projections) expect(expected[table]).not.toEqual([]);
    expect(await readProjections(stack.pool)).toEqual(expected);
    for (const projection of projections) {
      expect((await stack.pool.query(differences(projection))).rows).toEqual([]);
    }
    const { tables } = await rebuildMetrics(stack.pool, { chunkSize: 50 });
    const nothing = { changed: 0, added: 0, removed: 0 };
    expect(tables).toEqual(Object.fromEntries(projections.map(({ table }) => [table, nothing])));
  },
);

describe('what no declared projection is yet:', () => {
  const none = Object.fromEntries(eventTypes.map((type) => [type, nothing])) as {
    [T in EventType]: typeof nothing;
  };

  /** What the live update makes of events in a table that there is for it alone. */
  async function addUp(declared: Projection, stream: readonly Event[]): Promise<Rows> {
    await stack.pool.query(planMigration([declared], {}, newestMigration)!.sql);
    try {
      await emptyProjections(stack.pool);
      for (const batch of deliveriesOf(stream, 5)) {
        await log(stack.pool, batch);
        const eventIds = batch.map(({ id }) => id);
        await stack.pool.query(liveUpdate([declared], recordDue([])), [
          eventIds,
          'test',
          newestMigration,
        ]);
      }
      expect((await stack.pool.query(differences(declared))).rows).toEqual([]);
      return (await readProjections(stack.pool, [declared]))[declared.table]!;
    } finally {
      await stack.pool.query(`DROP TABLE collector.${declared.table}`);
      const forget = 'DELETE FROM collector.projections WHERE table_name = $1';
      await stack.pool.query(forget, [declared.table]);
    }
  }

  test('an optional snapshot, a version without a first one, a maximum with a least', async () => {
    const adjustments = projection({
      table: 'test_adjustments',
      about: 'Adjustments of the stock',
      effects: effects({
        name: 'test_adjustment_effect',
        columns: {
          ...({ product_id: 'text', views: 'bigint', delta: 'bigint' } as const),
          ...({ order_id: 'text', version: 'bigint' } as const),
        },
        on: {
          ...none,
          ProductViewed: ({ productId }) => ({ product_id: productId, views: 1 }),
          StockAdjusted: ({ productId, delta, orderId, version }) => ({
            ...{ product_id: productId, delta: negative(delta), order_id: orderId, version },
          }),
        },
      }),
      key: ['product_id'],
      columns: {
        view_count: sum('views'),
        greatest_delta: maximum('delta', 0),
        order_id: newest('order_id', { by: 'version' }),
        version: maximum('version'),
      },
    });
    const stream = createForeignEvents(400, createRandom(5));
    const expected = addUpProjections(stream, [adjustments])[adjustments.table]!;
    const versioned = expected.filter(({ version }) => version !== null);
    expect(new Set(versioned.map((row) => row['order_id'] === null)).size).toBe(2);
    expect(await addUp(adjustments, stream)).toEqual(expected);
  });

  test('a condition on a field that another event has, and that is no boolean there', async () => {
    const flag = {
      ...({ kind: 'field', of: 'data', name: 'flag', reads: 'boolean', optional: true } as const),
    };
    const text = { ...flag, name: 'userName', reads: 'text' } as const;
    const count = () => when(flag, { row: { user_id: text, count: 1 } });
    const flagged = projection({
      table: 'test_flagged',
      about: 'Events with a flag',
      effects: effects({
        name: 'test_flag_effect',
        columns: { user_id: 'text', count: 'bigint' },
        on: {
          ...none,
          ...({ OrderCancelled: count, OrderConfirmed: count, OrderPlaced: count } as object),
          ...({ LikeChanged: count, ProductViewed: count, StockAdjusted: count } as object),
        },
      }),
      key: ['user_id'],
      columns: { count: sum('count') },
    });
    const stream = createForeignEvents(90, createRandom(6)).map((event): Event => {
      const value = event.type === 'PaymentFailed' ? 'no boolean' : true;
      return { ...event, data: { ...event.data, flag: value, userName: 'me' } } as unknown as Event;
    });
    const counted = flagged.effects.sources.map(({ type }) => type);
    const expected = stream.filter(({ type }) => counted.includes(type)).length;
    const [row] = await addUp(flagged, stream);
    expect(row).toEqual({ user_id: 'me', count: String(expected) });
  });
});

test('verification and rebuild see each column of each projection that is wrong', async () => {
  const stream = createForeignEvents(60, createRandom(7));
  await emptyProjections(stack.pool);
  await handle(stack.pool, stream);
  const expected = await readProjections(stack.pool);
  for (const projection of projections) {
    const { table, columns } = projection;
    for (const name of Object.keys(columns)) {
      await stack.pool.query(
        `UPDATE collector.${table} SET ${name} = ${wrongValue[columnTypes(projection)[name]!]}`,
      );
      expect((await stack.pool.query(differences(projection))).rowCount).toBeGreaterThan(0);
      const { tables } = await rebuildMetrics(stack.pool, { only: [table] });
      expect(tables[table]!.changed).toBeGreaterThan(0);
    }
  }
  expect(await readProjections(stack.pool)).toEqual(expected);
});

/** A value that no event tells. */
const wrongValue: Readonly<Record<string, string>> = {
  bigint: '-77',
  numeric: '-77',
  boolean: 'NULL::boolean IS NULL',
  text: `'nobody said so'`,
  timestamptz: `'2001-01-01'`,
  date: `'2001-01-01'`,
};

test('every projection has its table, as it is declared, and the rights on it', async () => {
  expect(unreleasedTables()).toEqual([]);
  await assertTablesMatch(stack.pool);
  const { rows } = await stack.pool.query<{ table: string; rights: string }>(
    `SELECT table_name AS table, string_agg(DISTINCT grantee || ' ' || privilege_type, ', ') AS rights
     FROM information_schema.table_privileges
     WHERE table_schema = 'collector' AND grantee IN ('commerce_collector', 'commerce_operator')
       AND table_name = ANY($1)
     GROUP BY 1 ORDER BY 1`,
    [projections.map(({ table }) => table)],
  );
  const rights = [
    ...['INSERT', 'SELECT', 'UPDATE'].map((right) => `commerce_collector ${right}`),
    ...['DELETE', 'INSERT', 'UPDATE'].map((right) => `commerce_operator ${right}`),
  ].join(', ');
  expect(rows).toEqual(projections.map(({ table }) => ({ table, rights })));
});

describe('a projection that is new or changed', () => {
  const { table } = projections[0]!;
  const declare = (): Promise<unknown> =>
    stack.pool.query('SELECT collector.declare_projection($1, $2, $3)', [
      table,
      releasedProjections[table]!.definition,
      newestMigration,
    ]);
  const update = (eventIds: string[]): Promise<unknown> =>
    createMetricsActivities({ pool: stack.pool }).updateMetrics({ eventIds, workflowId: 'test' });

  beforeEach(() => emptyProjections(stack.pool));

  afterEach(() =>
    stack.pool.query('UPDATE collector.projections SET writers_from = 0, built_at = now()'),
  );

  test('needs no rebuild where no event was handled', async () => {
    await declare();
    expect(await readUnbuilt(stack.pool)).toEqual([]);
  });

  test('is not built until a rebuild, which holds whatever comes meanwhile', async () => {
    const stream = createForeignEvents(60, createRandom(3));
    await handle(stack.pool, stream.slice(0, 30));
    await stack.pool.query(`TRUNCATE collector.${table}`);
    await declare();
    expect(await readUnbuilt(stack.pool)).toEqual([table]);
    await Promise.all([
      rebuildMetrics(stack.pool, { only: [table], chunkSize: 5 }),
      ...stream.slice(30).map((event) => handle(stack.pool, [event])),
    ]);
    expect(await readUnbuilt(stack.pool)).toEqual([]);
    expect(await readProjections(stack.pool)).toEqual(addUpProjections(stream));
  });

  test.each([
    ['of an older version', '/1'],
    ['of a version that tells none', ''],
  ])('is not built while a worker %s is connected', async (_, version) => {
    await handle(stack.pool, createForeignEvents(3, createRandom(1)));
    await declare();
    const pool = createPool(stack.config.DATABASE_URL, createLogger('test', 'fatal'), {
      applicationName: `worker-collector${version}`,
    });
    try {
      await pool.query('SELECT');
      const refusal = { code: 'OLDER_WORKERS_RUNNING' };
      await expect(rebuildMetrics(stack.pool, { only: [table] })).rejects.toMatchObject(refusal);
      expect(await readUnbuilt(stack.pool)).toEqual([table]);
    } finally {
      await pool.end();
    }
    await until('it is built', () => rebuildMetrics(stack.pool, { only: [table] }));
    expect(await readUnbuilt(stack.pool)).toEqual([]);
  });

  test('refuses an older worker once it is built, and loses none of its events', async () => {
    const [event] = createForeignEvents(1, createRandom(1));
    await handle(stack.pool, createForeignEvents(1, createRandom(2)));
    await stack.pool.query('SELECT collector.declare_projection($1, $2, $3)', [
      table,
      'another',
      newestMigration + 1,
    ]);
    await stack.pool.query('UPDATE collector.projections SET writers_from = migration');
    const refusal = { type: 'WORKER_TOO_OLD', nonRetryable: false };
    await expect(handle(stack.pool, [event!])).rejects.toMatchObject(refusal);
    await expect(assertNotRefused(stack.pool)).rejects.toThrow(`was built: ${table}`);
    const { rowCount } = await stack.pool.query(
      'SELECT FROM collector.event_handled WHERE event_id = $1',
      [event!.id],
    );
    expect(rowCount).toBe(0);
    await stack.pool.query('UPDATE collector.projections SET writers_from = 0');
    await update([event!.id]);
    expect((await readProjections(stack.pool))[table]).toHaveLength(2);
    await declare();
  });

  test.each([
    ['was built for a newer one', 'UPDATE collector.projections SET writers_from = migration + 1'],
    ['has another definition', `UPDATE collector.projections SET definition = 'another'`],
  ])('ends the worker of a version whose table %s, which says so', async (_, change) => {
    await stack.pool.query(change);
    try {
      const worker = await stack.launch('worker:collector');
      await until('it has ended', () => !stack.running('worker:collector').includes(worker));
      expect(await worker.end()).toBe(1);
      expect(worker.output()).toMatch(
        /was built: product_metrics|product_metrics is of another migration/,
      );
    } finally {
      for (const { table: name } of projections) {
        const { definition, migration } = releasedProjections[name]!;
        await stack.pool.query('SELECT collector.declare_projection($1, $2, $3)', [
          ...[name, definition, migration],
        ]);
      }
    }
  });

  describe('for a newer version', () => {
    const declareNewer = (): Promise<unknown> =>
      stack.pool.query('SELECT collector.declare_projection($1, $2, $3)', [
        ...[table, 'another', newestMigration + 1],
      ]);
    const refusal = { code: 'PROJECTION_NEWER' };

    beforeEach(() => handle(stack.pool, createForeignEvents(20, createRandom(4))));

    afterEach(declare);

    test('is not built by a rebuild of this one', async () => {
      await declareNewer();
      await expect(rebuildMetrics(stack.pool, { only: [table] })).rejects.toMatchObject(refusal);
      expect(await readUnbuilt(stack.pool)).toEqual([table]);
    });

    test('is not built by a rebuild that was under way when it was declared', async () => {
      const writer = await stack.pool.connect();
      try {
        await writer.query('BEGIN; LOCK TABLE collector.event_handled IN ROW EXCLUSIVE MODE');
        let declared: Promise<unknown> | undefined;
        const rebuild = rebuildMetrics(stack.pool, {
          only: [table],
          lockTimeoutMs: 100,
          onProgress: ({ step }) => {
            if (step !== 'lock-busy') return;
            declared ??= declareNewer().then(() => writer.query('ROLLBACK'));
          },
        });
        await expect(rebuild).rejects.toMatchObject(refusal);
        await declared;
      } finally {
        writer.release();
      }
      expect(await readUnbuilt(stack.pool)).toEqual([table]);
    });
  });
});
