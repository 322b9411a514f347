/**
 * A command whose change a restore has lost after it was told is given again under the same ID: it is decided
 * anew, made once, and told under another ID. The activities are called as a repeat calls them.
 */
import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import { adopt, findLost, tellAnew, type ToldEvent } from '../../operations/shop-after-restore';
import { verify } from '../../operations/verification';
import { saveTables } from '../../testkit/saved-tables';
import { openShop, type ShopActivities } from '../../testkit/shop-activities';
import { createStack, type Stack } from '../../testkit/stack';

let stack: Stack;
let pool: Pool;
let shop: ShopActivities;

beforeAll(async () => {
  stack = await createStack([]);
  ({ pool, shop } = openShop(stack));
});

afterAll(async () => {
  await pool?.end();
  await stack?.stop();
});

/** Does the work and loses it again, as a restore does, once Kafka has all that it tells. */
async function losing(work: () => Promise<unknown>): Promise<void> {
  const saved = await saveTables(stack.pool);
  await work();
  const told = await readTold();
  await saved.restore(0);
  await stack.pool.query('DROP SCHEMA saved CASCADE');
  await adopt(stack.pool, await findLost(stack.pool, told));
  await tellAnew(stack.pool);
}

async function readTold(): Promise<ToldEvent[]> {
  const { rows } = await stack.pool.query<Omit<ToldEvent, 'value'> & { payload: object }>(`
    SELECT event_id AS "eventId", topic, 0 AS partition, sequence AS "offset", key, type, payload
    FROM commerce.outbox`);
  return rows.map(({ payload, ...told }) => ({
    ...told,
    value: Buffer.from(JSON.stringify(payload)),
  }));
}

function product(stock = 10) {
  return { productId: randomUUID(), name: 'Kettle', price: 700, stock };
}

async function register(): Promise<string> {
  return (await shop.createProduct(product())).productId;
}

function adjustment(productId: string, delta: number) {
  return { adjustmentId: randomUUID(), productId, delta, reason: 'correction' } as const;
}

function like(productId: string, liked: boolean) {
  return { requestId: randomUUID(), productId, userId: 'ann', liked };
}

/** The events of an aggregate in the outbox, in their order. */
async function eventsOf(key: string) {
  const { rows } = await stack.pool.query<{ eventId: string; type: string; data: object }>(
    `SELECT event_id AS "eventId", type, payload -> 'data' AS data
     FROM commerce.outbox WHERE key = $1 ORDER BY sequence`,
    [key],
  );
  return rows;
}

async function stockOf(productId: string): Promise<object | undefined> {
  const { rows } = await stack.pool.query<object>(
    'SELECT stock, stock_version AS version FROM commerce.products WHERE product_id = $1',
    [productId],
  );
  return rows[0];
}

test('a stock adjustment changes the stock once, in the version that follows what was told', async () => {
  const productId = await register();
  const command = adjustment(productId, -3);
  await losing(() => shop.changeStock(command));
  expect(await stockOf(productId)).toEqual({ stock: 10, version: 3 });
  const made = await shop.changeStock(command);
  expect(made).toMatchObject({ kind: 'adjusted', stock: 7, version: 4 });
  await shop.changeStock(adjustment(productId, 5));
  expect(await shop.changeStock(command)).toEqual(made);
  expect(await stockOf(productId)).toEqual({ stock: 12, version: 5 });
  const [, lost, , told, ...later] = await eventsOf(productId);
  expect(lost!.data).toMatchObject({ delta: -3, stock: 7, version: 2 });
  expect(made).toMatchObject({ eventId: told!.eventId });
  expect(told!.data).toMatchObject({ delta: -3, previousStock: 10, stock: 7, version: 4 });
  expect(later).toHaveLength(1);
});

test('one that was lost twice is told a third time', async () => {
  const productId = await register();
  const command = adjustment(productId, -3);
  await losing(() => shop.changeStock(command));
  await losing(() => shop.changeStock(command));
  const made = await shop.changeStock(command);
  expect(made).toMatchObject({ stock: 7, version: 6 });
  expect(await shop.changeStock(command)).toEqual(made);
  const events = await eventsOf(productId);
  expect(events.map(({ data }) => data)).toMatchObject(
    [1, 2, 3, 4, 5, 6].map((version) => ({ version })),
  );
  expect(made).toMatchObject({ eventId: events.at(-1)!.eventId });
});

test('one that the stock of now does not allow is refused for good', async () => {
  const productId = await register();
  const command = adjustment(productId, -3);
  await losing(() => shop.changeStock(command));
  await shop.changeStock(adjustment(productId, -9));
  const refused = { kind: 'stock-out-of-range', stock: 1 };
  expect(await shop.changeStock(command)).toEqual(refused);
  await shop.changeStock(adjustment(productId, 9));
  expect(await shop.changeStock(command)).toEqual(refused);
  expect(await stockOf(productId)).toEqual({ stock: 10, version: 5 });
});

test('a like is made once, and counts once beside the lost one and what took that back', async () => {
  const productId = await register();
  const command = like(productId, true);
  await losing(() => shop.setLike(command));
  const liked = { kind: 'liked', likeCount: 1, changed: true };
  expect(await shop.setLike(command)).toEqual(liked);
  await shop.setLike(like(productId, false));
  expect(await shop.setLike(command)).toEqual(liked);
  const told = (await eventsOf(productId)).slice(1).map(({ data }) => data);
  expect(told).toMatchObject([
    { liked: true, likeCount: 1, version: 1 },
    { liked: false, likeCount: 0, version: 2 },
    { liked: true, likeCount: 1, version: 3 },
    { liked: false, likeCount: 0, version: 4 },
  ]);
});

test('an unlike that was lost twice is made once', async () => {
  const productId = await register();
  await shop.setLike(like(productId, true));
  const command = like(productId, false);
  await losing(() => shop.setLike(command));
  await losing(() => shop.setLike(command));
  const unliked = { kind: 'not-liked', likeCount: 0, changed: true };
  expect(await shop.setLike(command)).toEqual(unliked);
  expect(await shop.setLike(command)).toEqual(unliked);
  expect((await eventsOf(productId)).slice(1)).toHaveLength(6);
});

test('a product is registered under another ID, whose versions are its own', async () => {
  const command = product();
  await losing(async () => {
    await shop.createProduct(command);
    await shop.changeStock(adjustment(command.productId, 2));
    await shop.setLike(like(command.productId, true));
  });
  const registered = await shop.createProduct(command);
  expect(registered).toMatchObject({ name: 'Kettle', stock: 10, version: 1 });
  expect(registered.productId).not.toBe(command.productId);
  expect(await shop.createProduct(command)).toEqual(registered);
  const { eventId, ...data } = registered;
  expect(await eventsOf(registered.productId)).toEqual([
    { eventId, type: 'ProductRegistered', data },
  ]);
  expect(await stockOf(command.productId)).toBeUndefined();
  expect(await eventsOf(command.productId)).toHaveLength(3);
});

test('an order is placed and decided again under its ID: it is told once, and its stock anew', async () => {
  const productId = await register();
  const orderId = randomUUID();
  const items = [{ productId, quantity: 1 }];
  const place = () =>
    shop.reserveStock(orderId, { userId: 'ann', items, paymentToken: 'tok_approve' });
  await losing(async () => {
    await place();
    await shop.confirmOrder(orderId, 'payment-1');
  });
  const told = await eventsOf(orderId);
  const placed = await place();
  expect(placed).toMatchObject({ status: 'PLACED', totalAmount: 700 });
  expect(await place()).toEqual(placed);
  expect(await shop.confirmOrder(orderId, 'payment-1')).toBe('CONFIRMED');
  expect(told.map(({ type }) => type)).toEqual([
    'OrderPlaced',
    'PaymentCompleted',
    'OrderConfirmed',
  ]);
  expect(await eventsOf(orderId)).toEqual(told);
  expect(await stockOf(productId)).toEqual({ stock: 9, version: 4 });
  expect((await eventsOf(productId)).at(-1)!.data).toMatchObject({
    orderId,
    delta: -1,
    version: 4,
  });
});

test('after all of that every change of the shop has its event', async () => {
  const { checks } = await verify(
    { pool: stack.pool, kafka: stack.kafka, groupId: 'commerce-collector' },
    { graceSeconds: 0 },
  );
  const ofShop = ['stock-adjustments', 'order-stock', 'money', 'likes', 'changes-have-events'];
  const found = checks.filter(({ name }) => ofShop.includes(name));
  expect(found).toHaveLength(ofShop.length);
  expect(found.filter(({ holds }) => !holds)).toEqual([]);
});
