/** One event is followed through all of its stages, each told while it is there; and what is found by search. */
import fc from 'fast-check';
import type { EventJourney } from '../../operations/event-journey';
import { projections } from '../../projections';
import { told } from '../../projections/statements';
import { events } from '../../testkit/event-arbitraries';
import { foreignEvent, messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { addUpProjections } from '../../testkit/projection-model';
import { runOpsHere } from '../../testkit/run-ops';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce']);
}, 120_000);

afterAll(() => stack?.stop());

async function registerProduct(name: string, stock: number): Promise<string> {
  const { body } = await stack.call('POST', '/v1/products', { body: { name, price: 900, stock } });
  return body.productId as string;
}

async function sellOut(productId: string, stock: number): Promise<string> {
  const body = { delta: -stock, reason: 'correction' };
  const route = `/v1/products/${productId}/stock-adjustments`;
  return (await stack.call('POST', route, { body })).body.eventId as string;
}

const journeyOf = (eventId: string) =>
  stack.call('GET', `/v1/events/${encodeURIComponent(eventId)}`);

async function untilState(eventId: string, state: string): Promise<EventJourney> {
  return until(
    `${eventId} is ${state}`,
    async () => {
      const { body } = await journeyOf(eventId);
      return body.state === state ? (body as EventJourney) : undefined;
    },
    { timeoutMs: 90_000, pollMs: 200 },
  );
}

const search = async (text: string) =>
  (await stack.call('GET', `/v1/search?q=${encodeURIComponent(text)}`)).body as {
    items: { kind: string; id: string; label: string; detail: string }[];
    incomplete: string | null;
  };

const foundBy = async (text: string) =>
  (await search(text)).items.map(({ kind, id }) => `${kind} ${id}`);

test('an event is told in every stage: committed, published, taken, logged, handled', async () => {
  const productId = await registerProduct('Sencha, first flush', 7);
  await stack.cluster.stop('kafka');
  const eventId = await sellOut(productId, 7);

  const unpublished = await untilState(eventId, 'unpublished');
  expect(unpublished).toMatchObject({
    type: 'StockAdjusted',
    aggregateId: productId,
    remedy: expect.stringContaining('Kafka'),
    committed: { at: expect.any(String), sequence: expect.any(Number), afterMs: null },
    published: null,
    taken: null,
    logged: null,
    handled: null,
    evictions: { productIds: [productId], state: 'waiting' },
    event: { id: eventId, source: '/commerce-api' },
  });
  expect((await search(eventId)).items).toMatchObject([
    { kind: 'event', id: eventId, detail: expect.stringContaining('not published yet') },
  ]);

  await stack.cluster.start('kafka');
  const published = await until(
    'it is published, and Kafka says what is before it',
    async () => {
      const journey = await untilState(eventId, 'published');
      return journey.published?.consumption === null ? undefined : journey;
    },
    { timeoutMs: 90_000 },
  );
  expect(published.published).toMatchObject({
    topic: 'catalog-events',
    afterMs: expect.any(Number),
    consumption: { committed: null },
  });
  expect(published.summary).toContain('has not read it');

  await stack.start('bridge');
  const taken = await untilState(eventId, 'taken');
  expect(taken.taken).toMatchObject({
    workflowId: eventId,
    workflowType: 'handleEvent',
    status: 'RUNNING',
  });

  const connection = await stack.pool.connect();
  try {
    // Whoever marks events as handled waits for this.
    await connection.query('BEGIN; LOCK TABLE collector.event_handled IN EXCLUSIVE MODE');
    await stack.start('worker:collector');
    const logged = await untilState(eventId, 'logged');
    expect(logged.logged).toMatchObject({
      topic: published.published?.topic,
      partition: published.published?.partition,
      offset: published.published?.offset,
    });
  } finally {
    await connection.query('ROLLBACK');
    connection.release();
  }

  await untilState(eventId, 'handled');
  const handled = await until('its eviction is made', async () => {
    const journey = await untilState(eventId, 'handled');
    return journey.evictions.state === 'done' ? journey : undefined;
  });
  expect(handled).toMatchObject({
    remedy: null,
    published: { consumption: null },
    handled: { workflowId: eventId, at: expect.any(String) },
    deadLetters: [],
  });
  expect(handled.effects).toContainEqual({
    table: 'product_metrics',
    about: expect.any(String),
    key: { product_id: productId },
    changes: [
      { column: 'stock', kind: 'newest', value: '0' },
      { column: 'stock_version', kind: 'maximum', value: '2' },
    ],
  });
  const stages = [handled.committed, handled.published, handled.taken, handled.logged];
  for (const stage of [...stages, handled.handled]) expect(stage?.at).not.toBeNull();

  const { exitCode, stdout } = await runOpsHere(stack, 'events', 'show', eventId, '--json');
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toEqual(handled);
  const shown = await runOpsHere(stack, 'events', 'show', eventId);
  expect(shown.stdout).toMatch(/handled: Its effects are applied, once\./);
  expect(shown.stdout).toContain('stock := 0, stock_version max 2');
}, 240_000);

test('what another producer sent has no commit; what is none is told as parked', async () => {
  const view = viewed('tea-of-others', 'ann');
  const broken = { key: 'tea', value: 'no JSON', headers: { ce_id: 'claimed-1' } };
  const twin = { ...view, source: '/an-impostor' };
  await produce(stack.kafka, 'catalog-events', [messageOf(view)]);
  const handled = await untilState(view.id, 'handled');
  expect(handled).toMatchObject({
    committed: null,
    published: { at: null, topic: 'catalog-events' },
    aggregateId: 'tea-of-others',
    evictions: { productIds: [], state: 'none' },
  });

  await produce(stack.kafka, 'catalog-events', [broken, messageOf(twin)]);
  const parked = await untilState('claimed-1', 'parked');
  const [letter] = parked.deadLetters;
  expect(parked).toMatchObject({
    event: null,
    type: null,
    logged: null,
    published: { at: null, offset: letter?.offset },
    deadLetters: [{ reason: 'NOT_JSON', status: 'parked' }],
    remedy: expect.stringContaining(`dead letter ${letter?.id}`),
  });
  const impostor = await until('the second event with the ID is parked', async () => {
    const journey = await untilState(view.id, 'handled');
    return journey.deadLetters.length > 0 ? journey : undefined;
  });
  expect(impostor.deadLetters).toMatchObject([
    { reason: 'EVENT_ID_CONFLICT', carriesEvent: false },
  ]);

  const place = `${letter?.topic}/${letter?.partition}@${letter?.offset}`;
  expect(await foundBy(place)).toEqual([`dead-letter ${letter?.id}`]);
  expect(await foundBy(`#${letter?.id}`)).toEqual([`dead-letter ${letter?.id}`]);
  const { logged } = handled;
  expect(await foundBy(`${logged?.topic}/${logged?.partition}@${logged?.offset}`)).toContain(
    `event ${view.id}`,
  );
}, 120_000);

test('what another producer has logged under an ID is not taken for the event of the shop', async () => {
  const claimed = viewed('claimed-tea');
  await produce(stack.kafka, 'catalog-events', [messageOf(claimed)]);
  await untilState(claimed.id, 'handled');
  const own = { ...claimed, source: '/commerce-api' };
  await stack.pool.query(
    `INSERT INTO commerce.outbox (event_id, topic, key, type, payload)
     VALUES ($1, 'catalog-events', 'claimed-tea', 'ProductViewed', $2)`,
    [claimed.id, own],
  );

  const journey = await untilState(claimed.id, 'unpublished');

  expect(journey).toMatchObject({ logged: null, handled: null, event: own });
});

test('an event whose effects can never be applied is parked, and says so', async () => {
  const tooMany = foreignEvent('ProductViewed', 'a-tea', { productId: 'a-tea' });
  // A sum beyond its column: whoever adds to it is refused.
  await stack.pool.query(
    `INSERT INTO collector.product_metrics (product_id, view_count) VALUES ('a-tea', 9223372036854775807)`,
  );
  await produce(stack.kafka, 'catalog-events', [messageOf(tooMany)]);

  const parked = await untilState(tooMany.id, 'parked');
  expect(parked).toMatchObject({
    handled: null,
    logged: { topic: 'catalog-events' },
    deadLetters: [{ reason: 'DATA_REFUSED', carriesEvent: true }],
  });
  // Its workflow parks it, and then fails.
  await until('its workflow has failed', async () => {
    const { body } = await journeyOf(tooMany.id);
    return (body as EventJourney).taken?.status === 'FAILED';
  });
}, 120_000);

describe('search', () => {
  test('finds an order, its user, and a product by its ID or the beginnings of its words', async () => {
    const productId = await registerProduct('Porcelain cup, 0.2 l', 9);
    const items = [{ productId, quantity: 1 }];
    const { body } = await stack.call('POST', '/v1/orders', {
      as: 'shopper',
      userId: 'searching-ann',
      body: { items, paymentToken: 'tok_approve' },
    });
    expect(await foundBy(body.orderId)).toEqual([`order ${body.orderId}`]);
    expect(await foundBy('searching-ann')).toEqual(['user searching-ann']);
    expect(await foundBy(productId)).toEqual([`product ${productId}`]);
    expect(await foundBy('porcelain cu')).toEqual([`product ${productId}`]);
    expect(await foundBy('cup')).toContain(`product ${productId}`);
  });

  test('finds nothing where there is nothing, and says what Kafka does not have', async () => {
    expect(await search('no-such-thing')).toEqual({ items: [], incomplete: null });
    expect(await search("' & | ! :* <->")).toEqual({ items: [], incomplete: null });
    expect(await search('order-events/0@999999')).toEqual({
      items: [],
      incomplete: expect.stringContaining('Kafka has no message'),
    });
  });
});

test('an event that nothing knows is 404, and the command line says so', async () => {
  const { status, body } = await journeyOf('no-such-event');
  expect([status, body.code]).toEqual([404, 'EVENT_NOT_FOUND']);
  // The ID of another workflow is no event's.
  expect((await journeyOf('order-1')).status).toBe(404);
  const { exitCode, stderr } = await runOpsHere(stack, 'events', 'show', 'no-such-event');
  expect(exitCode).toBe(1);
  expect(stderr).toContain('No event no-such-event');
});

test('with Temporal away the tables still tell', async () => {
  const { rows } = await stack.pool.query<{ event_id: string }>(
    'SELECT event_id FROM collector.event_handled LIMIT 1',
  );
  await stack.cluster.stop('temporal');
  try {
    const { body } = await journeyOf(rows[0]!.event_id);
    expect(body).toMatchObject({ state: 'handled', taken: { at: null, status: null } });
  } finally {
    await stack.cluster.start('temporal');
  }
}, 120_000);

test('what an event is told to change is what it adds up to, whatever it is', async () => {
  for (const event of fc.sample(events, 200)) {
    const { rows } = await stack.pool.query<{
      table: string;
      key: Record<string, string>;
      told: Record<string, string>;
    }>(told(projections), [event.type, event.time, JSON.stringify(event.data)]);
    const model = addUpProjections([event]);
    const expected = projections.flatMap(({ table, key }) =>
      model[table]!.map((row) => ({ table, row, key })),
    );
    expect(rows).toHaveLength(expected.length);
    for (const { table, key, told: values } of rows) {
      const found = expected.find(
        (each) => each.table === table && each.key.every((name) => each.row[name] === key[name]),
      );
      const texts = Object.entries(values).map(([name, value]) => [
        name,
        name.endsWith('_at') ? new Date(value).toISOString() : value,
      ]);
      expect(found?.row).toMatchObject(Object.fromEntries(texts) as Record<string, string>);
    }
  }
});
