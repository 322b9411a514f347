/** Step: an order that is paid, and one whose payment is declined and whose reservation is given back. */
import { z } from 'zod';
import { confirm, eventually } from './confirm';
import { registerProduct, type StoryProduct } from './register-product';
import type { World } from './world';

/** A confirmed order. */
export interface StoryOrder {
  readonly orderId: string;
  readonly productId: string;
}

const answered = z.object({ orderId: z.string() });
const order = z.object({ status: z.string() });

/**
 * Orders one unit of a new product twice: the gateway takes the first token and declines the second.
 *
 * @returns the product, of which one unit is sold
 */
export async function placeOrders(world: World): Promise<StoryProduct> {
  const { page } = world;
  const registered = await registerProduct(world);
  const { productId, stock } = registered;
  await placeOrder(world, productId, { paymentToken: 'tok_approve', status: 'CONFIRMED' });
  page.confirmed('reserved, charged and confirmed, each once');
  await placeOrder(world, productId, { paymentToken: 'tok_decline', status: 'CANCELLED' });
  const { rows } = await world.pool.query<{ stock: number }>(
    'SELECT stock FROM commerce.products WHERE product_id = $1',
    [productId],
  );
  confirm('the stock', rows[0]?.stock, stock - 1);
  page.confirmed('the declined order was compensated: its unit is on sale again');
  return registered;
}

/** Orders one unit, and waits until the order has been decided as expected. */
export async function placeOrder(
  { shop, signal }: World,
  productId: string,
  expected: { readonly paymentToken: string; readonly status: 'CONFIRMED' | 'CANCELLED' },
): Promise<StoryOrder> {
  const { body } = await shop.post('/v1/orders', {
    as: 'shopper',
    userId: 'ada',
    body: { items: [{ productId, quantity: 1 }], paymentToken: expected.paymentToken },
  });
  const { orderId } = answered.parse(body);
  await eventually(signal, `order ${orderId} is decided`, async () => {
    const found = await shop.get(`/v1/orders/${orderId}`, { as: 'shopper', userId: 'ada' });
    confirm('the status of the order', order.parse(found.body).status, expected.status);
  });
  return { orderId, productId };
}
