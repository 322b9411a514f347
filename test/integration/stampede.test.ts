/**
 * A stampede: hundreds of connections read one product while it is evicted again and again. If each miss
 * were a read of PostgreSQL, most would be too many, and refused.
 */
import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createProductCache } from '../../cache/product-cache';
import { createStack, type Stack } from '../../testkit/stack';

const connections = 300;
const evictEveryMs = 200;
const evictions = 15;
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api']);
  await stack.start('api');
});

afterAll(() => stack?.stop());

/** Reads a product again and again, on a connection of its own; returns the status of each answer. */
async function readUntil(signal: AbortSignal, url: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const statuses: number[] = [];
  try {
    while (!signal.aborted) statuses.push(await statusOf(url, agent));
  } finally {
    agent.destroy();
  }
  return statuses;
}

function statusOf(url: string, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { agent, headers: { authorization: 'Bearer dev-shopper-key' } }, (answer) => {
      answer.on('end', () => resolve(answer.statusCode!)).resume();
    }).on('error', reject);
  });
}

/** Reads of the table of products so far. A session adds its own once a second, or when it is idle. */
async function countReads(): Promise<number> {
  await sleep(1_500);
  const { rows } = await stack.pool.query<{ reads: number }>(
    `SELECT seq_scan + idx_scan AS reads FROM pg_stat_user_tables
     WHERE schemaname = 'commerce' AND relname = 'products'`,
  );
  return rows[0]!.reads;
}

test('while a product that hundreds read is evicted again and again, each read is answered, and PostgreSQL sees a handful', async () => {
  await stack.pool.query(
    `INSERT INTO commerce.products (product_id, name, price, stock, stock_version)
     VALUES ('hot', 'Hot product', 100, 5, 1)`,
  );
  const before = await countReads();
  const over = new AbortController();
  const apis = stack.running('api');
  const reading = Array.from({ length: connections }, (_, index) =>
    readUntil(over.signal, `${apis[index % apis.length]!.url}/v1/products/hot`),
  );
  const cache = createProductCache(stack.redis);
  for (let evicted = 0; evicted < evictions; evicted += 1) {
    await sleep(evictEveryMs);
    await cache.evict(['hot']);
  }
  over.abort();
  const statuses = (await Promise.all(reading)).flat();
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
  expect(statuses.length).toBeGreaterThan(2 * connections);
  // Two for each process: the one under way, and the next, which all others share.
  const mostReads = 2 * apis.length * (evictions + 1);
  expect((await countReads()) - before).toBeLessThanOrEqual(mostReads);
}, 60_000);
