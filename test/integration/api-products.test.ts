/** What the API shows and remembers, on real servers: products and their cache, first answers, and the collector's tables. */
import { randomUUID } from 'node:crypto';
import {
  foreignEvent,
  messageOf,
  produce,
  stockAdjusted,
  viewed,
} from '../../testkit/foreign-producer';
import { createStack, type ApiAnswer, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce', 'bridge', 'worker:collector']);
}, 60_000);

afterAll(() => stack?.stop());

async function register(product: object = {}, key?: string): Promise<ApiAnswer> {
  return stack.call('POST', '/v1/products', {
    body: { name: 'Tea', price: 500, stock: 3, ...product },
    ...(key === undefined ? {} : { idempotencyKey: key }),
  });
}

function get(route: string): Promise<ApiAnswer> {
  return stack.call('GET', route);
}

/** Follows a list to its end. */
async function readAll(route: string, cursorName = 'cursor'): Promise<ApiAnswer['body'][]> {
  const items: ApiAnswer['body'][] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const from = cursor === '' ? '' : `&${cursorName}=${cursor}`;
    const { status, body }: ApiAnswer = await get(route + from);
    expect(status).toBe(200);
    items.push(...body.items);
    cursor = body.nextCursor;
  }
  return items;
}

describe('a product', () => {
  test('is registered, found, listed, and its stock changed', async () => {
    const { status, body, headers } = await register({ name: 'Oolong' });
    expect(status).toBe(201);
    expect(body).toEqual({
      productId: expect.any(String),
      name: 'Oolong',
      price: 500,
      stock: 3,
      version: 1,
      eventId: expect.any(String),
    });
    const route = headers.get('location')!;
    const detail = {
      productId: body.productId,
      name: 'Oolong',
      price: 500,
      soldOut: false,
      likeCount: 0,
    };
    expect((await get(route)).body).toEqual(detail);
    expect(await readAll('/v1/products?limit=1')).toContainEqual(detail);

    const adjust = (delta: number) =>
      stack.call('POST', `${route}/stock-adjustments`, { body: { delta, reason: 'correction' } });
    expect(await adjust(-3)).toMatchObject({ status: 201, body: { stock: 0, version: 2 } });
    expect(await adjust(-1)).toMatchObject({
      status: 409,
      body: { code: 'STOCK_OUT_OF_RANGE' },
    });
    await until('it is shown as sold out', async () => (await get(route)).body.soldOut);
  });

  test('is read from the database once, then from the cache, and each look is a view', async () => {
    const { body } = await register();
    const route = `/v1/products/${body.productId}`;
    const looks = [await get(route), await get(route), await get(route)];
    expect(looks.map(({ headers }) => headers.get('x-cache'))).toEqual(['miss', 'hit', 'hit']);
    expect(looks[1]!.body).toEqual(looks[0]!.body);
    await stack.call('GET', route, { as: 'shopper', userId: 'ann' });
    await until('four views are counted', async () => {
      const metrics = await get(`/v1/metrics/products/${body.productId}`);
      return metrics.body.viewCount === 4;
    });
    const users = await get(`/v1/metrics/products/${body.productId}/users`);
    expect(users.body).toEqual({
      items: [
        {
          userId: 'ann',
          viewCount: 1,
          liked: false,
          purchaseCount: 0,
          lastEventAt: expect.any(String),
        },
      ],
      nextCursor: null,
    });
  });

  test('that does not exist is 404 wherever it is named', async () => {
    const adjustment = { body: { delta: 1, reason: 'restock' } };
    const answers = [
      await get('/v1/products/nothing'),
      await get('/v1/metrics/products/nothing'),
      await stack.call('POST', '/v1/products/nothing/stock-adjustments', adjustment),
      await stack.call('DELETE', '/v1/products/nothing/like', { as: 'shopper', userId: 'ann' }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
  });
});

describe('an Idempotency-Key', () => {
  async function age(key: { requestOf: string }, hours: number): Promise<void> {
    const { rowCount } = await stack.pool.query(
      `UPDATE commerce.idempotency_keys
       SET created_at = created_at - $2 * interval '1 hour',
         claimed_until = claimed_until - $2 * interval '1 hour'
       WHERE body LIKE '%' || $1 || '%'`,
      [key.requestOf, hours],
    );
    expect(rowCount).toBe(1);
  }

  test('gives the first answer for 24 hours, and then belongs to a new request', async () => {
    const key = randomUUID();
    const first = await register({}, key);
    const again = await register({}, key);
    expect([again.status, again.body]).toEqual([201, first.body]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.headers.get('location')).toBe(first.headers.get('location'));
    expect((await register({ price: 1 }, key)).status).toBe(422);

    const { productId } = first.body;
    await age({ requestOf: productId }, 23);
    expect((await register({}, key)).body).toEqual(first.body);
    await age({ requestOf: productId }, 1);
    const later = await register({ price: 1 }, key);
    expect(later.status).toBe(201);
    expect(later.body.productId).not.toBe(productId);
  });

  test('that is left behind by a killed process is taken over, under the same IDs', async () => {
    const key = randomUUID();
    const { body } = await register({}, key);
    await stack.pool.query(
      `UPDATE commerce.idempotency_keys
       SET status = NULL, headers = NULL, body = NULL, claimed_until = now() + interval '1 hour'
       WHERE body LIKE '%' || $1 || '%'`,
      [body.productId],
    );
    expect(await register({}, key)).toMatchObject({
      status: 409,
      body: { code: 'REQUEST_UNDER_WAY' },
    });
    await stack.pool.query(
      'UPDATE commerce.idempotency_keys SET claimed_until = now() WHERE status IS NULL',
    );
    expect(await register({}, key)).toMatchObject({ status: 201, body });
  });
});

describe('rankings', () => {
  const day = '2020-02-29';

  beforeAll(async () => {
    await stack.pool.query(
      `INSERT INTO collector.product_metrics (product_id, view_count, like_count, sales_count)
       SELECT 'ranked-' || n, n % 3, n, -n FROM generate_series(1, 7) AS n;
       INSERT INTO collector.product_metrics_daily (product_id, day, view_count, like_delta, sales_count)
       SELECT 'ranked-' || n, DATE '${day}', n, -n, n % 2 FROM generate_series(1, 7) AS n`,
    );
  });

  const ranked = async (query: string) =>
    (await readAll(`/v1/metrics/products?${query}`))
      .map(({ productId }) => productId as string)
      .filter((productId) => productId.startsWith('ranked-'))
      .map((productId) => Number(productId.slice('ranked-'.length)));

  test.each([
    ['sort=likes', [7, 6, 5, 4, 3, 2, 1]],
    ['sort=sales', [1, 2, 3, 4, 5, 6, 7]],
    ['sort=views', [2, 5, 1, 4, 7, 3, 6]],
    [`sort=views&day=${day}`, [7, 6, 5, 4, 3, 2, 1]],
    [`sort=likes&day=${day}`, [1, 2, 3, 4, 5, 6, 7]],
    [`sort=sales&day=${day}`, [1, 3, 5, 7, 2, 4, 6]],
    ['sort=views&day=2020-03-01', []],
  ])('%s: the same order, whatever the pages are', async (query, expected) => {
    expect(await ranked(`${query}&limit=100`)).toEqual(expected);
    expect(await ranked(`${query}&limit=2`)).toEqual(expected);
  });

  test('of more than a number holds are shown rounded, and paged exactly', async () => {
    await stack.pool.query(
      `INSERT INTO collector.product_metrics (product_id, sales_count)
       SELECT 'huge-' || n, 9007199254740993 + n FROM generate_series(1, 3) AS n`,
    );
    const items = (await readAll('/v1/metrics/products?sort=sales&limit=1')).slice(0, 3);
    expect(items.map(({ productId }) => productId)).toEqual(['huge-3', 'huge-2', 'huge-1']);
    expect(items[0].salesCount).toBeCloseTo(2 ** 53, -2);
  });
});

describe('the audit log', () => {
  const eventsOf = (aggregateId: string, query = '') =>
    readAll(`/v1/events?aggregateId=${aggregateId}&limit=2${query}`, 'after');

  test('has every event, by aggregate and by type, and each page begins where one ended', async () => {
    const events = [viewed('logged', 'ann'), viewed('logged'), viewed('logged')];
    const other = stockAdjusted('logged', 1, 5);
    await produce(stack.kafka, 'catalog-events', [...events, other].map(messageOf));
    const logged = await until('all are logged', async () => {
      const items = await eventsOf('logged');
      return items.length === 4 ? items : undefined;
    });
    const idsOf = (items: readonly { id?: string; eventId?: string }[]) =>
      items.map(({ id, eventId }) => id ?? eventId).sort();
    expect(idsOf(logged)).toEqual(idsOf([...events, other]));
    expect(logged.find(({ eventId }) => eventId === other.id)).toEqual({
      eventId: other.id,
      type: 'StockAdjusted',
      description: '−1 to 5, correction',
      topic: 'catalog-events',
      partition: expect.any(Number),
      offset: expect.any(Number),
      aggregateId: 'logged',
      occurredAt: other['time'],
      recordedAt: expect.any(String),
      event: other,
    });
    expect(idsOf(await eventsOf('logged', '&type=ProductViewed'))).toEqual(idsOf(events));
    const all = await readAll('/v1/events?type=StockAdjusted&limit=1', 'after');
    expect(all.filter(({ eventId }) => eventId === other.id)).toHaveLength(1);
    const everything = await readAll('/v1/events?limit=100', 'after');
    expect(new Set(everything.map(({ eventId }) => eventId)).size).toBe(everything.length);
    expect(idsOf(everything)).toEqual(expect.arrayContaining(idsOf(logged)));
  });

  test('skips nothing that is committed late, even behind what was committed before it', async () => {
    const insert = `
      INSERT INTO collector.event_log
        (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, payload)
      VALUES ($1, 'ProductViewed', 'catalog-events', 0, 0, 'late', now(), '{}')`;
    const slow = await stack.pool.connect();
    try {
      await slow.query('BEGIN');
      await slow.query(insert, ['late-1']);
      await stack.pool.query(insert, ['late-2']);
      const before = await get('/v1/events?aggregateId=late');
      expect(before.body).toEqual({ items: [], nextCursor: null, lastCursor: null });
      await slow.query('COMMIT');
    } finally {
      slow.release();
    }
    const first = await get('/v1/events?aggregateId=late&limit=1');
    const second = await get(`/v1/events?aggregateId=late&after=${first.body.lastCursor}`);
    const ids = [...first.body.items, ...second.body.items].map(({ eventId }) => eventId);
    expect(ids).toEqual(['late-1', 'late-2']);
    const end = await get(`/v1/events?aggregateId=late&after=${second.body.lastCursor}`);
    expect(end.body).toEqual({ items: [], nextCursor: null, lastCursor: second.body.lastCursor });
  });
});

describe('a dead letter', () => {
  async function park(value: Buffer): Promise<number> {
    const key = randomUUID();
    await produce(stack.kafka, 'catalog-events', [{ key, value }]);
    return until('it is parked', async () => {
      const { body } = await get('/v1/dead-letters?status=parked');
      return body.items.find((item: { key: { text: string } }) => item.key.text === key)?.id;
    });
  }

  const act = (id: number, action: string, body: object) =>
    stack.call('POST', `/v1/dead-letters/${id}/${action}`, { body });

  test('is shown byte for byte, and given up for a reason', async () => {
    const value = Buffer.from([0xff, 0x00, 0x7b]);
    const id = await park(value);
    const seen = await get(`/v1/dead-letters/${id}`);
    expect(seen.body).toMatchObject({
      id,
      status: 'parked',
      reason: 'NOT_UTF8',
      value: { base64: value.toString('base64') },
    });
    expect(await act(id, 'discard', { reason: 'a test' })).toMatchObject({
      status: 200,
      body: { id, status: 'discarded' },
    });
    expect((await get(`/v1/dead-letters/${id}`)).body).toMatchObject({
      status: 'discarded',
      note: 'a test',
      resolvedBy: 'operator',
    });
    expect((await act(id, 'redrive', {})).body.code).toBe('DEAD_LETTER_SETTLED');
  });

  test('is sent back once, and parked again with what it failed with', async () => {
    const event = foreignEvent('NoSuchType', 'tea', {});
    const id = await park(Buffer.from(JSON.stringify(event)));
    const first = await act(id, 'redrive', {});
    expect(first).toMatchObject({
      status: 200,
      body: { id, status: 'redriven', sentTo: { topic: 'catalog-events' } },
    });
    expect((await act(id, 'redrive', {})).body).toEqual({ id, status: 'redriven', sentTo: null });
    await until('it is parked again', async () => {
      const items = await readAll('/v1/dead-letters?limit=1');
      return items.some(({ redrivenFrom, tries }) => redrivenFrom === id && tries === 2);
    });
    expect((await act(id, 'discard', { reason: 'too late' })).status).toBe(409);
  });

  test('that does not exist is 404', async () => {
    const answers = [
      await get('/v1/dead-letters/999999'),
      await act(999_999, 'redrive', {}),
      await act(999_999, 'discard', { reason: 'a test' }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
  });
});
