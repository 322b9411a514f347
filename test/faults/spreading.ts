/**
 * Faults that must not spread: while one server is away, what does not need it is measured, and has to
 * be as quick as ever. What they measured is printed.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { forEachConcurrently } from '../../platform/process/concurrency';
import type { ApiAnswer, Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import type { Fault, FaultContext } from './faults';
import { freezeFor } from './servers';

type Shop = Pick<FaultContext, 'stack' | 'ledger'>;

const gatewayFrozenMs = 90_000;
const ordersPerSecond = 10;
/** From the request to the event's acknowledgement by Kafka. */
const publicationBoundMs = 2_000;

const likesPerSecond = 20;
const ordersBesideLikesPerSecond = 2;
const undisturbedMs = 30_000;
/** By how much the median of an order may grow while Redis is away. */
const boundOfGrowth = 1.25;

/** They strike under loads of their own, at steady rates, instead of the one of every other fault. */
export const spreadingFaults: readonly Fault[] = [
  {
    name: 'gateway-hangs',
    strikes: `the payment gateway is frozen for ${gatewayFrozenMs / 1_000} s under ${ordersPerSecond} orders a second; meanwhile a stock adjustment is in Kafka within ${publicationBoundMs / 1_000} s, each second`,
    measures: true,
    inject: hangGateway,
  },
  {
    name: 'cache-away',
    strikes: `Redis is stopped (\`--away\` seconds) under ${likesPerSecond} likes a second; meanwhile the median of an order grows by less than a quarter`,
    measures: true,
    inject: takeCacheAway,
  },
];

async function hangGateway(context: FaultContext): Promise<void> {
  const { stack } = context;
  const ordered = await register(context);
  const adjusted = await register(context);
  const undisturbed = await adjustFor(context, adjusted, 5_000);
  const frozen = new AbortController();
  const ordering = atRate(ordersPerSecond, frozen.signal, () => beginOrder(context, ordered));
  const [delays] = await Promise.all([
    adjustFor(context, adjusted, gatewayFrozenMs),
    freezeFor({ stack }, 'payments', gatewayFrozenMs).finally(() => frozen.abort()),
  ]);
  const begun = await ordering;
  await forEachConcurrently(begun, 8, (order) => finishOrder(context, order));
  const longest = Math.max(...delays);
  console.log(
    `     ${begun.length} orders while the gateway was frozen; an adjustment was in Kafka after ` +
      `${told(delays)}, the longest of second ${delays.indexOf(longest) + 1} (before: ${told(undisturbed)})`,
  );
  if (longest > publicationBoundMs) {
    throw new Error(`An adjustment was in Kafka after ${longest} ms.`);
  }
}

async function takeCacheAway(context: FaultContext): Promise<void> {
  const { stack, cacheAwayMs } = context;
  const liked = await Promise.all(Array.from({ length: 10 }, () => register(context)));
  const ordered = await register(context);
  const over = new AbortController();
  const liking = atRate(likesPerSecond, over.signal, (turn) => changeLike(context, liked, turn));
  try {
    const before = await measureOrders(context, ordered, undisturbedMs);
    await stack.cluster.stop('redis');
    const meanwhile = await measureOrders(context, ordered, cacheAwayMs).finally(() =>
      stack.cluster.start('redis'),
    );
    const growth = median(meanwhile) / median(before);
    console.log(
      `     an order took ${told(before)} under ${likesPerSecond} likes a second, and ` +
        `${told(meanwhile)} while Redis was away for ${cacheAwayMs / 1_000} s: ${growth.toFixed(2)} of the median`,
    );
    if (growth >= boundOfGrowth) {
      throw new Error(`The median of an order has grown to ${growth.toFixed(2)} of what it was.`);
    }
  } finally {
    over.abort();
    await liking;
  }
}

/** A product for these faults alone. */
async function register({ stack, ledger }: Shop): Promise<string> {
  const stock = 100_000;
  const body = { name: 'spreading', price, stock };
  const { body: product } = await untilDecided(stack, 'POST', '/v1/products', { body });
  const { productId } = product as { productId: string };
  ledger.products.set(productId, stock);
  ledger.leftAlone.add(productId);
  return productId;
}

const price = 700;

/** Calls at a steady rate, however long each takes. @returns what they came to, once all have ended */
async function atRate<T>(
  perSecond: number,
  signal: AbortSignal,
  call: (turn: number) => Promise<T>,
): Promise<T[]> {
  const startedAt = performance.now();
  const calls: Promise<T>[] = [];
  while (!signal.aborted) {
    const called = call(calls.length);
    // Told below, once all have been made.
    called.catch(() => undefined);
    calls.push(called);
    await sleep(Math.max(0, startedAt + (calls.length * 1_000) / perSecond - performance.now()));
  }
  return Promise.all(calls);
}

/** Adjusts once a second. @returns how long each took to be in Kafka, in ms */
async function adjustFor(shop: Shop, productId: string, forMs: number): Promise<number[]> {
  const over = AbortSignal.timeout(forMs);
  return atRate(1, over, () => adjust(shop, productId));
}

/** Adjusts the products of the load in turn, at a steady rate. */
export async function adjustAtRate(
  shop: Shop,
  perSecond: number,
  signal: AbortSignal,
): Promise<void> {
  const { products, leftAlone } = shop.ledger;
  const adjusted = [...products.keys()].filter((id) => !leftAlone.has(id));
  await atRate(perSecond, signal, (turn) => adjust(shop, adjusted[turn % adjusted.length]!));
}

async function adjust({ stack, ledger }: Shop, productId: string): Promise<number> {
  const from = performance.now();
  const route = `/v1/products/${productId}/stock-adjustments`;
  const body = { delta: 1, reason: 'restock' };
  const answer = await untilDecided(stack, 'POST', route, { body });
  const { eventId } = answer.body as { eventId: string };
  ledger.adjusted.set(productId, (ledger.adjusted.get(productId) ?? 0) + 1);
  ledger.adjustmentEvents.add(eventId);
  // Marked once the brokers have acknowledged it.
  await until(
    'the adjustment is in Kafka',
    async () => {
      const { rowCount } = await stack.pool.query(
        'SELECT FROM commerce.outbox WHERE event_id = $1 AND published_at IS NOT NULL',
        [eventId],
      );
      return rowCount === 1;
    },
    { timeoutMs: 120_000, pollMs: 20 },
  );
  return Math.round(performance.now() - from);
}

/** An order that was sent, and may not have been decided. */
interface BegunOrder {
  readonly productId: string;
  readonly idempotencyKey: string;
  readonly answer: ApiAnswer | undefined;
}

async function beginOrder({ stack, ledger }: Shop, productId: string): Promise<BegunOrder> {
  const idempotencyKey = randomUUID();
  ledger.sent += 1;
  const answer = await stack
    .call('POST', '/v1/orders', { ...orderOf(productId), idempotencyKey, timeoutMs: 20_000 })
    .catch(() => undefined);
  return { productId, idempotencyKey, answer };
}

async function finishOrder(
  { stack, ledger }: Shop,
  { productId, idempotencyKey, answer: first }: BegunOrder,
): Promise<void> {
  const answer =
    first !== undefined && isDecision(first)
      ? first
      : await untilDecided(stack, 'POST', '/v1/orders', { ...orderOf(productId), idempotencyKey });
  ledger.acknowledged += 1;
  if (answer.status !== 201) return;
  const { orderId } = answer.body as { orderId: string };
  const order = { orderId, productId, quantity: 1, totalAmount: price, confirmed: true };
  ledger.orders.set(orderId, order);
}

function orderOf(productId: string) {
  const body = { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' };
  return { as: 'shopper', userId: 'hurried', body } as const;
}

/** Orders at a steady rate. @returns how long each took to be decided, in ms */
async function measureOrders(shop: Shop, productId: string, forMs: number): Promise<number[]> {
  const over = AbortSignal.timeout(forMs);
  return atRate(ordersBesideLikesPerSecond, over, async () => {
    const from = performance.now();
    await finishOrder(shop, await beginOrder(shop, productId));
    return Math.round(performance.now() - from);
  });
}

/** Likes and unlikes in turn, so that each changes what is shown. */
async function changeLike(
  { stack, ledger }: Shop,
  productIds: readonly string[],
  turn: number,
): Promise<void> {
  const productId = productIds[turn % productIds.length]!;
  const round = Math.floor(turn / productIds.length);
  // So far apart that the one before has ended.
  const userId = `liker-${Math.floor(round / 2) % 50}`;
  const liked = round % 2 === 0;
  const pair = `${productId} ${userId}`;
  ledger.sent += 1;
  const answer = await stack
    .call(liked ? 'PUT' : 'DELETE', `/v1/products/${productId}/like`, { as: 'shopper', userId })
    .catch(() => undefined);
  if (answer?.status === 200) {
    ledger.acknowledged += 1;
    ledger.likes.set(pair, liked);
  } else {
    ledger.uncertainLikes.add(pair);
  }
}

async function untilDecided(
  stack: Stack,
  method: string,
  route: string,
  options: Parameters<Stack['call']>[2],
): Promise<ApiAnswer> {
  const idempotencyKey = randomUUID();
  return until(
    `${method} ${route} is decided`,
    async () => {
      const sent = { idempotencyKey, timeoutMs: 20_000, ...options };
      const answer = await stack.call(method, route, sent).catch(() => undefined);
      return answer !== undefined && isDecision(answer) ? answer : undefined;
    },
    { timeoutMs: 180_000, pollMs: 250 },
  );
}

function isDecision({ status, body }: ApiAnswer): boolean {
  if (status === 409) return (body as { code?: string }).code !== 'REQUEST_UNDER_WAY';
  return status < 500 && status !== 202 && status !== 429;
}

function told(times: readonly number[]): string {
  return `${median(times)} ms (longest ${Math.max(...times)})`;
}

function median(times: readonly number[]): number {
  return times.toSorted((one, other) => one - other)[Math.floor(times.length / 2)] ?? NaN;
}
