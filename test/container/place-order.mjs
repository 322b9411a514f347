/**
 * Orders a product, through the API of the container that this runs in; the product whose ID it is given,
 * or else one that it registers first. Writes the IDs of the product and of the order, a line each. An order
 * that is not decided at once is as good: it is a promise that it will be.
 */
import { randomUUID } from 'node:crypto';

const api = `http://127.0.0.1:${process.env.API_PORT}`;

async function post(path, key, body, headers = {}) {
  const answer = await globalThis.fetch(api + path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'idempotency-key': randomUUID(),
      ...headers,
    },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}

async function register() {
  const product = { name: 'a lamp', price: 4900, stock: 3 };
  const { productId } = await post('/v1/products', 'dev-operator-key', product);
  return productId;
}

const productId = process.argv[2] ?? (await register());
const order = { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' };
const { orderId } = await post('/v1/orders', 'dev-shopper-key', order, { 'x-user-id': 'ann' });
console.log(`${productId}\n${orderId}`);
