/** Somebody locks the row of one product for seconds: its orders wait, and those of others are decided in time. */
import { createLockedProductFinder } from '../../activities/commerce/locked-products';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['worker:commerce', 'api'], {
    AUDIT_INTERVAL_MS: String(24 * 3_600_000),
  });
}, 120_000);

afterAll(() => stack?.stop());

async function register(): Promise<string> {
  const body = { name: 'Kettle', price: 700, stock: 1_000 };
  return (await stack.call('POST', '/v1/products', { body })).body.productId as string;
}

let users = 0;

async function order(productId: string): Promise<{ status: number; tookMs: number }> {
  const began = Date.now();
  const body = { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' };
  const userId = `user-${(users += 1)}`;
  const { status } = await stack.call('POST', '/v1/orders', { as: 'shopper', userId, body });
  return { status, tookMs: Date.now() - began };
}

async function stockOf(productId: string): Promise<number> {
  const { rows } = await stack.pool.query<{ stock: number }>(
    'SELECT stock FROM commerce.products WHERE product_id = $1',
    [productId],
  );
  return rows[0]!.stock;
}

test('orders of other products are decided in time, and its own once the lock is gone', async () => {
  const [lockedId, otherId] = [await register(), await register()];
  await order(otherId);
  const holder = await stack.pool.connect();
  await holder.query('BEGIN');
  await holder.query('SELECT FROM commerce.products WHERE product_id = $1 FOR UPDATE', [lockedId]);
  // More than the pool has connections.
  const waiting = Array.from({ length: 40 }, () => order(lockedId));
  await until('its orders wait for the lock', async () => {
    const { rows } = await stack.pool.query(
      `SELECT FROM pg_stat_activity
       WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  });
  const others: Awaited<ReturnType<typeof order>>[] = [];
  for (let count = 0; count < 15; count += 1) others.push(await order(otherId));
  await holder.query('ROLLBACK');
  holder.release();

  expect(others.map(({ status }) => status)).toEqual(others.map(() => 201));
  // The slowest may come while those of the locked product find out about it.
  expect(Math.max(...others.map(({ tookMs }) => tookMs))).toBeLessThan(5_000);
  const answers = (await Promise.all(waiting)).map(({ status }) => status);
  expect(answers.filter((status) => ![201, 202].includes(status))).toEqual([]);
  await until('those of the locked product are reserved, too', async () => {
    return (await stockOf(lockedId)) === 1_000 - waiting.length;
  });
}, 120_000);

test('of several products the locked ones are found without waiting', async () => {
  const [lockedId, freeId] = [await register(), await register()];
  const holder = await stack.pool.connect();
  await holder.query('BEGIN');
  await holder.query('SELECT FROM commerce.products WHERE product_id = $1 FOR UPDATE', [lockedId]);
  const findLocked = createLockedProductFinder(stack.pool);
  expect(await findLocked([lockedId, freeId, 'unknown'])).toEqual([lockedId]);
  await holder.query('ROLLBACK');
  holder.release();
  expect(await findLocked([lockedId, freeId])).toEqual([]);
});
