/**
 * An outage of Redis: logging and counting continue. Afterwards every product that was changed
 * meanwhile is evicted, and no stale one is shown.
 */
import { createProductCache, productCacheKey } from '../../cache/product-cache';
import { messageOf, produce, stockAdjusted } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
// Fewer than events: one that waits for Redis must not hold back those behind it.
const slots = 3;
const productCount = 12;
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['bridge', 'worker:collector'], {
    BRIDGE_MAX_IN_FLIGHT: String(slots),
  });
});

afterAll(() => stack?.stop());

function productsOf(outage: string): string[] {
  return Array.from({ length: productCount }, (_, index) => `${outage}-${index}`);
}

/** Caches each product as one that is not sold out. */
async function fill(products: readonly string[]): Promise<void> {
  const cache = createProductCache(stack.redis);
  for (const productId of products) {
    const lookup = await cache.lookUp(productId);
    if (lookup.hit) throw new Error('nothing can be cached yet');
    expect(await cache.fill(productId, lookup.lease, '{"soldOut":false}')).toBe(true);
  }
}

function countCached(products: readonly string[]): Promise<number> {
  return stack.redis.exists(...products.map(productCacheKey));
}

/** Sells the products out. @returns the events that say so, once they are logged and counted */
async function sellOut(products: readonly string[]) {
  const events = products.map((productId) => stockAdjusted(productId, 1, 0, 1));
  await produce(stack.kafka, topic, events.map(messageOf));
  await until('all are logged and counted', async () => {
    const { rowCount } = await stack.pool.query(
      `SELECT FROM collector.event_log JOIN collector.event_handled USING (event_id)
       JOIN collector.product_metrics ON product_id = aggregate_id AND stock = 0
       WHERE product_id = ANY($1)`,
      [products],
    );
    return rowCount === products.length;
  });
  return events;
}

async function untilEvicted(events: readonly { readonly id: string }[]): Promise<void> {
  await until('every eviction has caught up', async () => {
    const workflows = await Promise.all(
      events.map(({ id }) => stack.temporal.workflow.getHandle(id).describe()),
    );
    return workflows.every(({ status }) => status.name === 'COMPLETED');
  });
}

async function countOpen(events: readonly { readonly id: string }[]): Promise<number> {
  const workflows = await Promise.all(
    events.map(({ id }) => stack.temporal.workflow.getHandle(id).describe()),
  );
  return workflows.filter(({ status }) => status.name === 'RUNNING').length;
}

test('products that are looked up in one moment get their own details, and one failure is its own', async () => {
  const cache = createProductCache(stack.redis);
  const [tea, pot, broken] = ['moment-tea', 'moment-pot', 'moment-broken'] as const;
  await stack.redis.set(productCacheKey(tea), '"tea"');
  await stack.redis.set(productCacheKey(pot), '"pot"');
  await stack.redis.rpush(productCacheKey(broken), 'a list');

  const found = await Promise.allSettled([pot, broken, tea, pot].map((id) => cache.lookUp(id)));

  expect(found).toMatchObject([
    { value: { hit: true, json: '"pot"' } },
    { reason: { message: expect.stringContaining('WRONGTYPE') } },
    { value: { hit: true, json: '"tea"' } },
    { value: { hit: true, json: '"pot"' } },
  ]);
});

test('while Redis hangs, log and metrics continue; when it answers again, stale products are evicted', async () => {
  const products = productsOf('frozen');
  await fill(products);
  const server = (await stack.cluster.status()).find(({ name }) => name === 'redis');
  process.kill(server!.pid!, 'SIGSTOP');
  try {
    const events = await sellOut(products);
    expect(await countOpen(events)).toBe(productCount);
    process.kill(server!.pid!, 'SIGCONT');
    await untilEvicted(events);
    expect(await countCached(products)).toBe(0);
  } finally {
    process.kill(server!.pid!, 'SIGCONT');
  }
}, 90_000);

test('while Redis is stopped, log and metrics continue; when it is back, no stale product returns', async () => {
  const products = productsOf('stopped');
  const cache = createProductCache(stack.redis);
  const [slowest] = products;
  // A reader who loads the product before the change, and wants to cache it after the outage.
  const reader = await cache.lookUp(slowest!);
  if (reader.hit) throw new Error('nothing can be cached yet');
  await stack.cluster.stop('redis');
  try {
    const events = await sellOut(products);
    expect(await countOpen(events)).toBe(productCount);
    await startRedis();
    expect(await cache.fill(slowest!, reader.lease, '{"soldOut":false}')).toBe(false);
    await untilEvicted(events);
    expect(await countCached(products)).toBe(0);
  } finally {
    await startRedis();
  }
}, 90_000);

/** Resolves when Redis runs and this test is connected to it again. */
async function startRedis(): Promise<void> {
  await stack.cluster.start('redis');
  await until('Redis answers', () => stack.redis.ping());
}
