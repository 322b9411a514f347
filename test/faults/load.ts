/** A steady mixed load on the API: orders, cancellations, stock, likes and views. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiAnswer, CallOptions, Stack } from '../../testkit/stack';
import type { Ledger } from './ledger';
import type { Random } from '../../testkit/random';

/** A load that is running. */
export interface Load {
  /**
   * Ends the load: resolves when every command that was sent has its answer.
   *
   * @throws when one got no decision in time
   */
  stop(): Promise<void>;
}

const clients = 4;
const pauseMs = 60;
const productCount = 6;
const firstStock = 400;
const price = 700;

/** Registers the products that the load is about. */
export async function registerProducts(stack: Stack, ledger: Ledger): Promise<void> {
  for (let index = 0; index < productCount; index += 1) {
    await registerProduct(stack, ledger, `product ${index}`, firstStock);
  }
}

async function registerProduct(
  stack: Stack,
  ledger: Ledger,
  name: string,
  stock: number,
): Promise<string> {
  const body = { name, price, stock };
  const { body: product } = await untilDecided(stack, ledger, 'POST', '/v1/products', { body });
  const { productId } = product as { productId: string };
  ledger.products.set(productId, stock);
  return productId;
}

/** Starts the load. Each client does one thing after the other and pauses in between. */
export function startLoad(stack: Stack, ledger: Ledger, random: Random): Load {
  const stopping = { now: false };
  const running = Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      while (!stopping.now) {
        await doSomething(stack, ledger, random, `user-${client}`);
        await sleep(pauseMs);
      }
    }),
  );
  // A client that fails while a fault strikes is told by `stop`; it is no reason to end the run.
  running.catch(() => undefined);
  return {
    async stop() {
      stopping.now = true;
      await running;
    },
  };
}

async function doSomething(
  stack: Stack,
  ledger: Ledger,
  random: Random,
  userId: string,
): Promise<void> {
  const products = [...ledger.products.keys()].filter((id) => !ledger.leftAlone.has(id));
  const productId = random.pick(products);
  const dice = random.below(100);
  if (dice < 35) await placeOrder(stack, ledger, random, userId, productId);
  else if (dice < 45) await cancelOrder(stack, ledger, random);
  else if (dice < 60) await adjustStock(stack, ledger, random, productId);
  else if (dice < 80) await changeLike(stack, ledger, random, userId, productId);
  else if (dice < 85) await sellOut(stack, ledger, random, userId);
  else await view(stack, ledger, userId, productId);
}

async function placeOrder(
  stack: Stack,
  ledger: Ledger,
  random: Random,
  userId: string,
  productId: string,
): Promise<void> {
  const quantity = 1 + random.below(3);
  const paymentToken = random.below(10) === 0 ? 'tok_decline' : 'tok_approve';
  await order(stack, ledger, userId, { productId, quantity, paymentToken });
}

/** Sells a product of its own out. */
async function sellOut(
  stack: Stack,
  ledger: Ledger,
  random: Random,
  userId: string,
): Promise<void> {
  const quantity = 1 + random.below(3);
  const productId = await registerProduct(stack, ledger, 'sold out', quantity);
  ledger.leftAlone.add(productId);
  await order(stack, ledger, userId, { productId, quantity, paymentToken: 'tok_approve' });
}

interface Purchase {
  readonly productId: string;
  readonly quantity: number;
  readonly paymentToken: string;
}

async function order(
  stack: Stack,
  ledger: Ledger,
  userId: string,
  { productId, quantity, paymentToken }: Purchase,
): Promise<void> {
  const body = { items: [{ productId, quantity }], paymentToken };
  const options = { as: 'shopper', userId, body } as const;
  const answer = await untilDecided(stack, ledger, 'POST', '/v1/orders', options);
  if (answer.status !== 201) return;
  const { orderId } = answer.body as { orderId: string };
  const totalAmount = quantity * price;
  ledger.orders.set(orderId, { orderId, productId, quantity, totalAmount, confirmed: true });
}

async function cancelOrder(stack: Stack, ledger: Ledger, random: Random): Promise<void> {
  const confirmed = [...ledger.orders.values()].filter((order) => order.confirmed);
  if (confirmed.length === 0) return;
  const order = random.pick(confirmed);
  order.confirmed = false;
  const body = { reason: 'changed my mind' };
  await untilDecided(stack, ledger, 'POST', `/v1/orders/${order.orderId}/cancel`, { body });
}

async function adjustStock(
  stack: Stack,
  ledger: Ledger,
  random: Random,
  productId: string,
): Promise<void> {
  const delta = 1 + random.below(5);
  const route = `/v1/products/${productId}/stock-adjustments`;
  const body = { delta, reason: 'restock' };
  const answer = await untilDecided(stack, ledger, 'POST', route, { body });
  ledger.adjusted.set(productId, (ledger.adjusted.get(productId) ?? 0) + delta);
  ledger.adjustmentEvents.add((answer.body as { eventId: string }).eventId);
}

async function changeLike(
  stack: Stack,
  ledger: Ledger,
  random: Random,
  userId: string,
  productId: string,
): Promise<void> {
  const liked = random.below(2) === 0;
  const route = `/v1/products/${productId}/like`;
  const options = { as: 'shopper', userId } as const;
  const { tries } = await untilDecided(stack, ledger, liked ? 'PUT' : 'DELETE', route, options);
  const pair = `${productId} ${userId}`;
  ledger.likes.set(pair, liked);
  // A change without an answer has no key that settles it: it may still happen, after a later one.
  if (tries > 1) ledger.uncertainLikes.add(pair);
}

/**
 * Takes what became of the likes that were left without an answer from the database: whatever it was,
 * from now on it is known. To be called when nothing is under way.
 */
export async function settleLikes({
  stack,
  ledger,
}: {
  readonly stack: Stack;
  readonly ledger: Ledger;
}): Promise<void> {
  const { rows } = await stack.pool.query<{ pair: string }>(
    `SELECT product_id || ' ' || user_id AS pair FROM commerce.product_likes`,
  );
  const liked = new Set(rows.map(({ pair }) => pair));
  for (const pair of ledger.uncertainLikes) ledger.likes.set(pair, liked.has(pair));
  ledger.uncertainLikes.clear();
}

async function view(
  stack: Stack,
  ledger: Ledger,
  userId: string,
  productId: string,
): Promise<void> {
  const viewer = `${userId}-${ledger.views.size}`;
  const pair = `${productId} ${viewer}`;
  ledger.views.set(pair, false);
  const options = { as: 'shopper', userId: viewer } as const;
  const answer = await tryOnce(stack, ledger, 'GET', `/v1/products/${productId}`, options);
  if (answer?.status !== 200) return;
  ledger.views.set(pair, true);
  ledger.acknowledged += 1;
}

const decisionTimeoutMs = 180_000;

/** Retries with one key until the response is a decision. */
async function untilDecided(
  stack: Stack,
  ledger: Ledger,
  method: string,
  route: string,
  options: CallOptions,
): Promise<ApiAnswer & { readonly tries: number }> {
  const idempotencyKey = randomUUID();
  const deadline = Date.now() + decisionTimeoutMs;
  for (let tries = 1; ; tries += 1) {
    const answer = await tryOnce(stack, ledger, method, route, { ...options, idempotencyKey });
    if (answer !== undefined && isDecision(answer)) {
      ledger.acknowledged += 1;
      return { ...answer, tries };
    }
    if (Date.now() > deadline)
      throw new Error(`No decision for ${method} ${route}: ${answer?.status}`);
    await sleep(250);
  }
}

function isDecision({ status, body }: ApiAnswer): boolean {
  if (status === 409) return (body as { code?: string }).code !== 'REQUEST_UNDER_WAY';
  return status < 500 && status !== 202 && status !== 429;
}

async function tryOnce(
  stack: Stack,
  ledger: Ledger,
  method: string,
  route: string,
  options: CallOptions,
): Promise<ApiAnswer | undefined> {
  ledger.sent += 1;
  // No response: the connection was refused, cut, or left hanging by a frozen process.
  const answer = await stack
    .call(method, route, { ...options, timeoutMs: 15_000 })
    .catch(() => undefined);
  if (answer !== undefined && leavesClientAlone(answer)) {
    ledger.failures.push(`${answer.status} ${method} ${route}`);
  }
  return answer;
}

function leavesClientAlone({ status, headers }: ApiAnswer): boolean {
  return status >= 500 && !(status === 503 && headers.has('retry-after'));
}
