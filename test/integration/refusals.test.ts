/**
 * A command's first answer is its answer for good, also one that says that nothing was changed: the
 * activities are called as a worker that was frozen calls them, at any time and any number of times.
 */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type { Pool } from 'pg';
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

async function register(stock: number): Promise<string> {
  const productId = randomUUID();
  await shop.createProduct({ productId, name: 'Kettle', price: 700, stock });
  return productId;
}

function adjustment(productId: string, delta: number) {
  return { adjustmentId: randomUUID(), productId, delta, reason: 'correction' } as const;
}

function like(productId: string, liked: boolean) {
  return { requestId: randomUUID(), productId, userId: 'ann', liked };
}

function orderOf(productId: string) {
  return { userId: 'ann', items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' };
}

describe('refused once is refused for good', () => {
  test('a stock change below 0, also after a restock', async () => {
    const productId = await register(0);
    const command = adjustment(productId, -1);
    const refused = { kind: 'stock-out-of-range', stock: 0 };
    expect(await shop.changeStock(command)).toEqual(refused);
    expect(await shop.changeStock(adjustment(productId, 5))).toMatchObject({ stock: 5 });
    expect(await shop.changeStock(command)).toEqual(refused);
    expect(await stockOf(productId)).toBe(5);
  });

  test('a like that changed nothing, also after an unlike', async () => {
    const productId = await register(0);
    await shop.setLike(like(productId, true));
    const command = like(productId, true);
    const unchanged = { kind: 'liked', likeCount: 1, changed: false };
    expect(await shop.setLike(command)).toEqual(unchanged);
    expect(await shop.setLike(like(productId, false))).toMatchObject({ likeCount: 0 });
    expect(await shop.setLike(command)).toEqual(unchanged);
    expect(await likersOf(productId)).toEqual([]);
  });

  test('an order without stock, also after a restock, and whoever asks what became of it', async () => {
    const productId = await register(0);
    const orderId = randomUUID();
    const refused = { kind: 'out-of-stock', productId, stock: 0 };
    expect(await shop.reserveStock(orderId, orderOf(productId))).toEqual(refused);
    await shop.changeStock(adjustment(productId, 5));
    expect(await shop.reserveStock(orderId, orderOf(productId))).toEqual(refused);
    expect(await shop.reserveStock(orderId, undefined)).toEqual(refused);
    expect(await shop.findOrder(orderId)).toEqual(refused);
    expect(await stockOf(productId)).toBe(5);
  });

  test('a command for a product that was not there, also once it is', async () => {
    const productId = randomUUID();
    const stock = adjustment(productId, 1);
    const liking = like(productId, true);
    const orderId = randomUUID();
    const ask = async () => [
      await shop.changeStock(stock),
      await shop.setLike(liking),
      await shop.reserveStock(orderId, orderOf(productId)),
    ];
    const first = await ask();
    await shop.createProduct({ productId, name: 'Kettle', price: 700, stock: 5 });
    expect(await ask()).toEqual(first);
    expect(await stockOf(productId)).toBe(5);
  });
});

test('what nobody has asked for is not refused: an order may be looked for before it is placed', async () => {
  const productId = await register(1);
  const orderId = randomUUID();
  expect(await shop.reserveStock(orderId, undefined)).toEqual({ kind: 'unknown-order' });
  expect(await shop.findOrder(orderId)).toEqual({ kind: 'unknown-order' });
  const placed = await shop.reserveStock(orderId, orderOf(productId));
  expect(placed).toMatchObject({ status: 'PLACED' });
  expect(await shop.findOrder(orderId)).toEqual(placed);
});

/** A command of a random history; those of the same index and shape are the same command. */
const commands = fc.oneof(
  fc.record({ is: fc.constant('register' as const), product: fc.nat(1) }),
  fc.record({
    is: fc.constant('stock' as const),
    product: fc.nat(1),
    delta: fc.constantFrom(-2, -1, 1, 2),
  }),
  fc.record({
    is: fc.constant('like' as const),
    product: fc.nat(1),
    userId: fc.constantFrom('u1', 'u2'),
    liked: fc.boolean(),
  }),
  fc.record({
    is: fc.constant('order' as const),
    product: fc.nat(1),
    quantity: fc.constantFrom(1, 2),
  }),
);

type Command = typeof commands extends fc.Arbitrary<infer T> ? T : never;

/** A handful of commands, and the order in which they are applied: those of one step at once. */
const histories = fc.array(commands, { minLength: 2, maxLength: 6 }).chain((given) =>
  fc.record({
    given: fc.constant(given),
    steps: fc.array(fc.array(fc.nat(given.length - 1), { minLength: 1, maxLength: 4 }), {
      minLength: 3,
      maxLength: 10,
    }),
  }),
);

/** Applies a command under an ID of its own. */
function apply(command: Command, id: string, productId: string): Promise<object> {
  switch (command.is) {
    case 'register':
      return shop.createProduct({ productId, name: 'Kettle', price: 700, stock: 1 });
    case 'stock':
      return shop.changeStock({
        adjustmentId: id,
        productId,
        delta: command.delta,
        reason: 'correction',
      });
    case 'like':
      return shop.setLike({
        requestId: id,
        productId,
        userId: command.userId,
        liked: command.liked,
      });
    case 'order': {
      const { quantity } = command;
      return shop.reserveStock(id, { ...orderOf(productId), items: [{ productId, quantity }] });
    }
  }
}

/** What a command has changed, by its answer. */
function changeOf(command: Command, answer: object): { stock: number; events: number } {
  const { kind } = answer as { kind?: string };
  switch (command.is) {
    case 'register':
      return { stock: 1, events: 1 };
    case 'stock':
      return kind === 'adjusted' ? { stock: command.delta, events: 1 } : nothing;
    case 'like':
      return 'changed' in answer && answer.changed === true ? { stock: 0, events: 1 } : nothing;
    case 'order':
      return kind === 'order' ? { stock: -command.quantity, events: 2 } : nothing;
  }
}

const nothing = { stock: 0, events: 0 };

test('any number of times, in any interleaving with others: one answer, and one change at most', async () => {
  await fc.assert(
    fc.asyncProperty(histories, async ({ given, steps }) => {
      const run = randomUUID();
      const productOf = ({ product }: Command) => `${run}-product-${product}`;
      const answers = new Map<number, object>();
      for (const step of steps) {
        const told = await Promise.all(
          step.map((index) => apply(given[index]!, `${run}-${index}`, productOf(given[index]!))),
        );
        for (const [place, index] of step.entries()) {
          const first = answers.get(index) ?? told[place]!;
          expect(told[place]).toEqual(first);
          answers.set(index, first);
        }
      }
      for (const productId of [`${run}-product-0`, `${run}-product-1`]) {
        // Registrations of one product are one command.
        const registered = [...answers].find(
          ([index]) => given[index]!.is === 'register' && productOf(given[index]!) === productId,
        );
        const changes = [...answers]
          .filter(([index]) => productOf(given[index]!) === productId)
          .filter(([index]) => given[index]!.is !== 'register' || index === registered?.[0])
          .map(([index, answer]) => changeOf(given[index]!, answer));
        expect({
          stock: (await stockOf(productId)) ?? 0,
          events: await eventsOf(productId, run),
        }).toEqual({
          stock: changes.reduce((sum, { stock }) => sum + stock, 0),
          events: changes.reduce((sum, { events }) => sum + events, 0),
        });
      }
    }),
    { numRuns: 60 },
  );
}, 120_000);

async function stockOf(productId: string): Promise<number | undefined> {
  const { rows } = await stack.pool.query<{ stock: number }>(
    'SELECT stock FROM commerce.products WHERE product_id = $1',
    [productId],
  );
  return rows[0]?.stock;
}

async function likersOf(productId: string): Promise<string[]> {
  const { rows } = await stack.pool.query<{ user_id: string }>(
    'SELECT user_id FROM commerce.product_likes WHERE product_id = $1',
    [productId],
  );
  return rows.map(({ user_id }) => user_id);
}

/** Events of a product and of the orders of it that belong to a run. */
async function eventsOf(productId: string, run: string): Promise<number> {
  const { rows } = await stack.pool.query<{ events: number }>(
    `SELECT count(*) AS events FROM commerce.outbox
     WHERE key = $1 OR (starts_with(key, $2) AND key IN (
       SELECT order_id FROM commerce.order_items WHERE product_id = $1))`,
    [productId, run],
  );
  return rows[0]!.events;
}
