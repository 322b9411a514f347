import { randomUUID } from 'node:crypto';
import { createProductCache, productCacheKey } from '../../cache/product-cache';
import {
  foreignEvent,
  messageOf,
  produce,
  stockAdjusted,
  viewed,
} from '../../testkit/foreign-producer';
import { createTemporalClient } from '../../platform/temporal/client';
import { createStack, registerNamespace, type ProcessName, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
/** For as many workflows as a test starts at once, each by itself, while other tests run beside it. */
const atLeisure = { timeoutMs: 90_000 };
const apart: readonly ProcessName[] = ['bridge', 'worker:collector'];
const together: readonly ProcessName[] = ['collector'];

describe.each([
  { mode: 'per-event', where: 'two processes', processes: apart },
  { mode: 'coalesce', where: 'two processes', processes: apart },
  { mode: 'per-event', where: 'one process', processes: together },
  { mode: 'coalesce', where: 'one process', processes: together },
])('with BRIDGE_MODE=$mode in $where', ({ mode, processes }) => {
  let stack: Stack;

  beforeAll(async () => {
    stack = await createStack(processes, { BRIDGE_MODE: mode });
  });

  afterAll(() => stack.stop());

  async function metricsOf(productId: string) {
    const { rows } = await stack.pool.query<Record<string, number>>(
      'SELECT * FROM collector.product_metrics WHERE product_id = $1',
      [productId],
    );
    return rows[0];
  }

  async function repeatsOf(eventId: string): Promise<number> {
    const { rows } = await stack.pool.query<{ count: number }>(
      'SELECT count FROM collector.event_repeats WHERE event_id = $1',
      [eventId],
    );
    return rows[0]?.count ?? 0;
  }

  async function countHandled(eventIds: string[]): Promise<number> {
    const { rowCount } = await stack.pool.query(
      'SELECT 1 FROM collector.event_handled WHERE event_id = ANY($1)',
      [eventIds],
    );
    return rowCount ?? 0;
  }

  /** Resolves when the bridge has committed everything that is in the topic. */
  async function untilConsumed(groupId: string): Promise<void> {
    const admin = stack.kafka.admin();
    await admin.connect();
    try {
      await until(
        'the group has committed the end of the topic',
        async () => {
          const ends = await admin.fetchTopicOffsets(topic);
          const [committed] = await admin.fetchOffsets({
            groupId,
            topics: [topic],
          });
          return ends.every(
            ({ partition, high }) =>
              high === '0' ||
              committed?.partitions.find((each) => each.partition === partition)?.offset === high,
          );
        },
        atLeisure,
      );
    } finally {
      await admin.disconnect();
    }
  }

  /** Every row that an event can change, but for the times. */
  async function everything() {
    const tables = {
      event_log: 'event_id, type, topic, partition, "offset", payload',
      event_handled: 'event_id, workflow_id',
      product_metrics: '*',
      product_metrics_daily: '*',
      product_user_metrics: '*',
    };
    return Promise.all(
      Object.entries(tables).map(async ([table, columns]) => {
        const { rows } = await stack.pool.query<Record<string, unknown>>(
          `SELECT ${columns} FROM collector.${table} ORDER BY 1, 2`,
        );
        return rows;
      }),
    );
  }

  describe('an event of a foreign producer', () => {
    test('has its log row, its effect, and a workflow whose ID is exactly its event ID', async () => {
      const event = viewed('product-1', 'user-1');
      await produce(stack.kafka, topic, [messageOf(event)]);
      await until('it is handled', () => countHandled([event.id]));
      const { rows } = await stack.pool.query(
        'SELECT type, topic, aggregate_id, payload FROM collector.event_log WHERE event_id = $1',
        [event.id],
      );
      expect(rows).toEqual([
        { type: 'ProductViewed', topic, aggregate_id: 'product-1', payload: event },
      ]);
      expect(await metricsOf('product-1')).toMatchObject({ view_count: 1 });
      const workflow = await stack.temporal.workflow.getHandle(event.id).describe();
      expect(workflow.type).toBe('handleEvent');
      expect(workflow.searchAttributes).toMatchObject({
        EventType: ['ProductViewed'],
        AggregateId: ['product-1'],
      });
    });

    test('that comes three times counts once', async () => {
      const event = viewed('product-2');
      const last = viewed('product-2');
      await produce(stack.kafka, topic, [event, event, event, last].map(messageOf));
      await until('both are handled', async () => (await countHandled([event.id, last.id])) === 2);
      await untilConsumed(stack.config.BRIDGE_GROUP_ID);
      expect(await metricsOf('product-2')).toMatchObject({ view_count: 2 });
      await until('both repeats are counted', async () => (await repeatsOf(event.id)) === 2);
      expect(await repeatsOf(last.id)).toBe(0);
    });

    test('keeps the newest stock when the versions come in reverse', async () => {
      const events = [5, 4, 3, 2].map((version) =>
        stockAdjusted('product-3', version, version * 10),
      );
      await produce(stack.kafka, topic, events.map(messageOf));
      await until(
        'all are handled',
        async () => (await countHandled(events.map(({ id }) => id))) === 4,
      );
      expect(await metricsOf('product-3')).toMatchObject({ stock: 50, stock_version: 5 });
    });
  });

  test('500 messages, each three times and shuffled, give exactly the metrics of 500', async () => {
    const events = Array.from({ length: 500 }, (_, index) => {
      const productId = `bulk-${index % 7}`;
      return index % 2 === 0
        ? viewed(productId, `user-${index % 11}`)
        : stockAdjusted(productId, index + 1, index);
    });
    const messages = [...events, ...events, ...events]
      .map((event) => ({ event, position: Math.random() }))
      .sort((one, other) => one.position - other.position)
      .map(({ event }) => messageOf(event));
    await produce(stack.kafka, topic, messages);
    const ids = events.map(({ id }) => id);
    await until('all are handled', async () => (await countHandled(ids)) === 500, atLeisure);
    await untilConsumed(stack.config.BRIDGE_GROUP_ID);

    for (let product = 0; product < 7; product += 1) {
      const productId = `bulk-${product}`;
      const own = events.filter(({ subject }) => subject === productId);
      const newest = own
        .filter(({ type }) => type === 'StockAdjusted')
        .map(({ data }) => data as { stock: number; version: number })
        .sort((one, other) => other.version - one.version)[0];
      expect(await metricsOf(productId)).toMatchObject({
        view_count: own.filter(({ type }) => type === 'ProductViewed').length,
        stock: newest?.stock,
        stock_version: newest?.version,
      });
    }
  }, 150_000);

  describe('the cached product', () => {
    test('is deleted when the product is sold out, and left alone by other changes of stock', async () => {
      const cache = createProductCache(stack.redis);
      const lookup = await cache.lookUp('product-4');
      if (lookup.hit) throw new Error('nothing can be cached yet');
      await cache.fill('product-4', lookup.lease, '{"soldOut":false}');

      const fewer = stockAdjusted('product-4', 2, 1, 2);
      await produce(stack.kafka, topic, [messageOf(fewer)]);
      await until('it is handled', () => countHandled([fewer.id]));
      await until('its workflow is finished', async () => {
        const { status } = await stack.temporal.workflow.getHandle(fewer.id).describe();
        return status.name === 'COMPLETED';
      });
      expect(await stack.redis.exists(productCacheKey('product-4'))).toBe(1);

      await produce(stack.kafka, topic, [messageOf(stockAdjusted('product-4', 3, 0, 1))]);
      await until(
        'it is evicted',
        async () => !(await stack.redis.exists(productCacheKey('product-4'))),
      );
    });

    test('cannot be put back by a reader that loaded the old row', async () => {
      const cache = createProductCache(stack.redis);
      const slowReader = await cache.lookUp('product-5');
      if (slowReader.hit) throw new Error('nothing can be cached yet');
      const soldOut = stockAdjusted('product-5', 2, 0, 1);
      await produce(stack.kafka, topic, [messageOf(soldOut)]);
      await until('its workflow is finished', async () => {
        const { status } = await stack.temporal.workflow.getHandle(soldOut.id).describe();
        return status.name === 'COMPLETED';
      });
      expect(await cache.fill('product-5', slowReader.lease, '{"soldOut":false}')).toBe(false);
      expect(await stack.redis.exists(productCacheKey('product-5'))).toBe(0);
    });
  });

  describe('a repeat is refused', () => {
    test('by the workflow ID, without another run', async () => {
      const event = viewed('product-6');
      await produce(stack.kafka, topic, [messageOf(event)]);
      const handle = stack.temporal.workflow.getHandle(event.id);
      await until(
        'its workflow is finished',
        async () => (await handle.describe()).status.name === 'COMPLETED',
      );
      const { runId } = await handle.describe();
      await produce(stack.kafka, topic, [messageOf(event)]);
      await untilConsumed(stack.config.BRIDGE_GROUP_ID);
      expect((await handle.describe()).runId).toBe(runId);
    });

    test("by event_handled, when Temporal's history is gone and every offset is reset", async () => {
      await untilConsumed(stack.config.BRIDGE_GROUP_ID);
      const before = await everything();
      const empty = { TEMPORAL_NAMESPACE: `${stack.config.TEMPORAL_NAMESPACE}_empty` };
      await registerNamespace(stack.temporal, empty.TEMPORAL_NAMESPACE);
      for (const name of processes) {
        await stack.start(name, { ...empty, BRIDGE_GROUP_ID: 'replay' });
      }
      await untilConsumed('replay');
      const client = createTemporalClient({ ...stack.config, ...empty });
      await until(
        'every workflow of the replay is finished',
        async () => {
          const { count: all } = await client.workflow.count('');
          const { count: open } = await client.workflow.count('ExecutionStatus = "Running"');
          return all > 0 && open === 0;
        },
        atLeisure,
      );
      await client.connection.close();
      expect(await everything()).toEqual(before);
    }, 150_000);
  });

  test('a poison message is parked byte for byte, and a healthy one right behind it is handled', async () => {
    const poison = Buffer.from([0xff, 0xfe, 0x00, 0x7b]);
    const claimed = randomUUID();
    const healthy = viewed('product-8');
    await produce(stack.kafka, topic, [
      { key: 'product-8', value: poison, headers: { ce_id: claimed, odd: Buffer.from([0x80]) } },
      messageOf(healthy),
      { key: 'product-8', value: null },
      messageOf(foreignEvent('StockAdjusted', 'product-8', { productId: 'product-8' })),
    ]);
    await until('the healthy one is handled', () => countHandled([healthy.id]));
    const parked = await until('three are parked', async () => {
      const { rows } = await stack.pool.query<Record<string, unknown>>(
        'SELECT * FROM collector.dead_letters WHERE key = $1 ORDER BY "offset"',
        [Buffer.from('product-8')],
      );
      return rows.length === 3 ? rows : undefined;
    });
    expect(parked).toMatchObject([
      {
        reason: 'NOT_UTF8',
        value: poison,
        event_id: claimed,
        status: 'parked',
        headers: [
          { name: 'ce_id', text: claimed },
          { name: 'odd', base64: Buffer.from([0x80]).toString('base64') },
        ],
      },
      { reason: 'NULL_VALUE', value: null },
      { reason: 'INVALID_DATA' },
    ]);
    expect(parked[2]?.['detail']).toContain('data.delta');
  });
});
