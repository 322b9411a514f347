/** Threat: a shopper sees, cancels or pays with what is another's (OWASP API1). */
import { createStack, type Stack } from '../../../testkit/stack';

let stack: Stack;
let productId: string;
let orderId: string;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce']);
  const product = { name: 'Tea', price: 500, stock: 5 };
  productId = (await stack.call('POST', '/v1/products', { body: product })).body.productId;
  const placed = await order('ann', 'the-key-of-ann');
  orderId = placed.body.orderId;
  expect(placed).toMatchObject({ status: 201 });
}, 90_000);

afterAll(() => stack?.stop());

function order(userId: string, idempotencyKey: string) {
  const body = { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' };
  return stack.call('POST', '/v1/orders', { as: 'shopper', userId, body, idempotencyKey });
}

test('an order is 404 for everybody but its shopper, as if there were none', async () => {
  const route = `/v1/orders/${orderId}`;
  const missing = await stack.call('GET', '/v1/orders/no-such-order', {
    as: 'shopper',
    userId: 'bob',
  });
  const others = await stack.call('GET', route, { as: 'shopper', userId: 'bob' });
  expect(others.status).toBe(404);
  expect(others.body).toEqual({ ...missing.body, detail: `There is no order ${orderId}.` });
  expect((await stack.call('GET', route, { as: 'shopper', userId: 'ann' })).status).toBe(200);
});

test('nobody cancels the order of another', async () => {
  const route = `/v1/orders/${orderId}/cancel`;
  const cancelled = await stack.call('POST', route, { as: 'shopper', userId: 'bob', body: {} });
  expect(cancelled.status).toBe(404);
  const found = await stack.call('GET', `/v1/orders/${orderId}`, { as: 'shopper', userId: 'ann' });
  expect(found.body.status).toBe('CONFIRMED');
});

test("another's Idempotency-Key gets nobody the answer to it", async () => {
  const other = await order('bob', 'the-key-of-ann');
  expect(other.status).toBe(201);
  expect(other.body.orderId).not.toBe(orderId);
  expect(other.headers.get('idempotency-replayed')).toBeNull();
});
