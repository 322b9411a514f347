/**
 * Threat: load beyond capacity, by accident or by an attacker who wants to stop the shop: orders,
 * reads, or invalid messages (OWASP API4).
 *
 * Larger: `OVERLOAD_SECONDS` (of orders beyond the capacity), `OVERLOAD_TIMES` (the capacity),
 * `OVERLOAD_POISON` (messages).
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import autocannon from 'autocannon';
import { readMemory } from '../../../testkit/memory';
import { produce, messageOf, viewed } from '../../../testkit/foreign-producer';
import { createStack, type ApiAnswer, type Stack } from '../../../testkit/stack';
import { until } from '../../../testkit/until';
import { readSize } from '../fuzzing';

const seconds = readSize('OVERLOAD_SECONDS', 4);
const times = readSize('OVERLOAD_TIMES', 3);
const poison = readSize('OVERLOAD_POISON', 100);

/** So few that a short test fills them on any machine. */
const places = 32;

let stack: Stack;
let productId: string;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce', 'bridge', 'worker:collector'], {
    BRIDGE_MODE: 'coalesce',
    API_MAX_CHANGES: String(places),
  });
  const body = { name: 'Tea', price: 500, stock: 1_000_000 };
  productId = (await stack.call('POST', '/v1/products', { body })).body.productId;
}, 120_000);

afterAll(() => stack?.stop());

interface Timed {
  readonly answer: ApiAnswer;
  readonly latencyMs: number;
}

async function order(): Promise<Timed> {
  const body = { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' };
  const begun = performance.now();
  const options = { as: 'shopper', userId: 'ann', body, idempotencyKey: randomUUID() } as const;
  const answer = await stack.call('POST', '/v1/orders', options);
  return { answer, latencyMs: performance.now() - begun };
}

/** Orders a second that so many clients get through, each waiting for its answer. */
async function measureCapacity(clients: number, ms: number): Promise<number> {
  const end = Date.now() + ms;
  let done = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (Date.now() < end) if ((await order()).answer.status === 201) done += 1;
    }),
  );
  return (done * 1_000) / ms;
}

async function atRate(perSecond: number, count: number): Promise<Timed[]> {
  const orders: Promise<Timed>[] = [];
  const begun = performance.now();
  for (let index = 0; index < count; index += 1) {
    await sleep(Math.max(begun + (index * 1_000) / perSecond - performance.now(), 0));
    orders.push(order());
  }
  return Promise.all(orders);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return Math.round(sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0);
}

const latencies = (timed: readonly Timed[]): number[] => timed.map(({ latencyMs }) => latencyMs);

test(
  `orders at ${times} times the capacity: what is too much is refused soon, and what is accepted is done`,
  async () => {
    const capacity = Math.max(await measureCapacity(8, 3_000), 2);
    const before = await readMemory(stack);
    // So many that all places are taken, however slow the machine is.
    const count = Math.max(Math.round(capacity * times * seconds), 150);
    const answers = await atRate(Math.max(capacity * times, count / seconds), count);
    const after = await readMemory(stack);

    const accepted = answers.filter(({ answer: { status } }) => status === 201 || status === 202);
    const refused = answers.filter(({ answer: { status } }) => status === 429 || status === 503);
    const ids = accepted.map(({ answer }) => String(answer.body.orderId));
    console.info(
      [
        `capacity ${capacity.toFixed(1)} orders/s; ${count} orders at ${(count / seconds).toFixed(1)}/s`,
        `accepted ${accepted.length}, p50 ${quantile(latencies(accepted), 0.5)} ms, p99 ${quantile(latencies(accepted), 0.99)} ms`,
        `refused ${refused.length}, p50 ${quantile(latencies(refused), 0.5)} ms, p99 ${quantile(latencies(refused), 0.99)} ms`,
        `memory before ${JSON.stringify(before)}`,
        `memory after ${JSON.stringify(after)}`,
      ].join('\n'),
    );

    expect(accepted.length + refused.length).toBe(count);
    expect(refused.length).toBeGreaterThan(0);
    for (const { answer } of refused) expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
    // An order is answered within ten seconds, decided or not; what is beyond is the way to it.
    expect(quantile(latencies(accepted), 0.99)).toBeLessThan(13_000);
    expect(quantile(latencies(refused), 0.5)).toBeLessThan(1_000);
    const grown = (after.api?.mebibytes ?? 0) - (before.api?.mebibytes ?? 0);
    expect(grown).toBeLessThan(150);
    await until('every order that was accepted is confirmed', () => areConfirmed(ids), {
      timeoutMs: 60_000,
    });
  },
  120_000 + seconds * 3_000,
);

async function areConfirmed(orderIds: readonly string[]): Promise<boolean> {
  const { rows } = await stack.pool.query<{ rows: number }>(
    `SELECT count(*)::int AS rows FROM commerce.orders
     WHERE order_id = ANY($1) AND status = 'CONFIRMED'`,
    [orderIds],
  );
  return rows[0]!.rows === new Set(orderIds).size;
}

test('a flood of views and lists does not hold orders up', async () => {
  const inTurn = async (count: number): Promise<number[]> => {
    const taken: number[] = [];
    for (let index = 0; index < count; index += 1) {
      const { answer, latencyMs } = await order();
      expect(answer.status).toBe(201);
      taken.push(latencyMs);
    }
    return taken;
  };
  const quiet = await inTurn(10);
  const headers = { authorization: 'Bearer dev-shopper-key' };
  const flood = autocannon({
    url: stack.apiUrl(),
    connections: 64,
    duration: 5,
    requests: [`/v1/products/${productId}`, '/v1/products?limit=100'].map((path) => ({
      path,
      headers,
    })),
  });
  const flooded = await inTurn(10);
  const { '2xx': served, non2xx } = await flood;
  console.info(
    `orders in turn: p50 ${quantile(quiet, 0.5)} ms; under ${served} views and lists ` +
      `(${non2xx} refused): p50 ${quantile(flooded, 0.5)} ms, slowest ${quantile(flooded, 1)} ms`,
  );
  expect(served).toBeGreaterThan(100);
  // The flood has its share of the machine; what orders must not do is wait for its end.
  expect(quantile(flooded, 0.5)).toBeLessThan(Math.max(quantile(quiet, 0.5) * 8, 1_000));
}, 120_000);

test(
  `${poison} messages that are no events do not stop the events among them`,
  async () => {
    const events = Array.from({ length: 20 }, () => viewed(`healthy-${randomUUID()}`));
    const messages = Array.from({ length: poison }, (_, index) => ({
      key: `poison-${index}`,
      value: `no event ${randomUUID()}`,
    }));
    const middle = Math.floor(poison / 2);
    const begun = Date.now();
    await produce(stack.kafka, 'catalog-events', [
      ...messages.slice(0, middle),
      ...events.map(messageOf),
      ...messages.slice(middle),
    ]);
    const ids = events.map(({ id }) => id);
    const countOf = async (text: string, values: unknown[] = []): Promise<number> =>
      (await stack.pool.query<{ rows: number }>(text, values)).rows[0]!.rows;
    await until(
      'the events are handled',
      async () =>
        (await countOf(
          'SELECT count(*)::int AS rows FROM collector.event_handled WHERE event_id = ANY($1)',
          [ids],
        )) === ids.length,
      { timeoutMs: 30_000 + poison * 50 },
    );
    const handledAfter = Date.now() - begun;
    await until(
      'all that is no event is parked',
      async () =>
        (await countOf(
          `SELECT count(*)::int AS rows FROM collector.dead_letters WHERE convert_from(value, 'UTF8') LIKE 'no event %'`,
        )) === poison,
      { timeoutMs: 30_000 + poison * 100 },
    );
    console.info(
      `${events.length} events among ${poison} messages that are none: handled after ${handledAfter} ms, ` +
        `all parked after ${Date.now() - begun} ms`,
    );
  },
  120_000 + poison * 150,
);
