/**
 * The server with every dependency away: real clients on a port where nothing listens. What needs
 * none of them works as ever, and what does says which one is missing.
 */
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';

const operator = { authorization: 'Bearer dev-operator-key' };
const shopper = { authorization: 'Bearer dev-shopper-key' };

let server: DisconnectedServer;
let app: FastifyInstance;

beforeAll(async () => {
  server = await createDisconnectedServer();
  app = server.app;
});

afterAll(() => server.stop());

const product = { name: 'Tea', price: 500, stock: 3 };

const order = { items: [{ productId: 'tea', quantity: 1 }], paymentToken: 'tok_approve' };
const ann = { ...shopper, 'x-user-id': 'ann' };

function post(url: string, payload: unknown, headers: Record<string, string> = operator) {
  const type = { 'content-type': 'application/json' };
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return app.inject({ method: 'POST', url, payload: text, headers: { ...type, ...headers } });
}

function get(url: string, headers: Record<string, string> = operator) {
  return app.inject({ method: 'GET', url, headers });
}

describe('who may do what', () => {
  test.each<[string, Record<string, string>]>([
    ['no key', {}],
    ['an unknown key', { authorization: 'Bearer wrong' }],
    ['another scheme', { authorization: 'Basic ZGV2LW9wZXJhdG9yLWtleQ==' }],
    ['a key that only begins right', { authorization: 'Bearer dev-operator-ke' }],
  ])('%s is 401', async (_, headers) => {
    const response = await get('/v1/products', headers);
    expect(response.statusCode).toBe(401);
    expect(response.headers['www-authenticate']).toBe('Bearer');
    expect(response.json().code).toBe('UNAUTHENTICATED');
  });

  test.each([['/v1/products'], ['/v1/products/tea/stock-adjustments']])(
    'a shopper may not POST %s, whatever the body is',
    async (url) => {
      const response = await post(url, 'not even JSON', shopper);
      expect(response.statusCode).toBe(403);
    },
  );

  test.each([
    ['GET', '/v1/metrics/products'],
    ['GET', '/v1/metrics/products/tea'],
    ['GET', '/v1/metrics/products/tea/users'],
    ['GET', '/v1/events'],
    ['GET', '/v1/dead-letters'],
    ['GET', '/v1/dead-letters/1'],
    ['POST', '/v1/dead-letters/1/redrive'],
    ['POST', '/v1/dead-letters/1/discard'],
    ['GET', '/v1/dead-letters/groups'],
    ['GET', '/v1/dead-letters/check'],
    ['GET', '/v1/dead-letters/1/check'],
    ['POST', '/v1/dead-letters/redrive'],
    ['POST', '/v1/dead-letters/discard'],
  ] as const)('%s %s is for operators only', async (method, url) => {
    expect((await app.inject({ method, url, headers: ann })).statusCode).toBe(403);
  });

  test.each([
    ['POST', '/v1/orders'],
    ['PUT', '/v1/products/tea/like'],
    ['DELETE', '/v1/products/tea/like'],
  ] as const)('%s %s is for shoppers only', async (method, url) => {
    expect((await app.inject({ method, url, headers: operator })).statusCode).toBe(403);
  });

  test.each([
    ['POST', '/v1/orders'],
    ['GET', '/v1/orders/order-1'],
    ['POST', '/v1/orders/order-1/cancel'],
    ['PUT', '/v1/products/tea/like'],
    ['DELETE', '/v1/products/tea/like'],
  ] as const)('a shopper must say for whom it is: %s %s', async (method, url) => {
    const response = await app.inject({ method, url, headers: shopper });
    expect(response.statusCode).toBe(400);
    expect(response.json().errors[0].field).toBe('X-User-Id');
  });

  test('a user that cannot be one is refused by the name of the header', async () => {
    const response = await get('/v1/products/tea', { ...shopper, 'x-user-id': 'ann b' });
    expect(response.statusCode).toBe(400);
    expect(response.json().errors).toEqual([
      { field: 'X-User-Id', message: 'must be 1 to 64 of A-Z a-z 0-9 _ -' },
    ]);
  });
});

describe('input that breaks its schema is 400 and names the field', () => {
  const adjustments = '/v1/products/tea/stock-adjustments';
  test.each<[field: string, url: string, payload: unknown]>([
    ['name', '/v1/products', { ...product, name: '' }],
    ['name', '/v1/products', { ...product, name: 'x'.repeat(201) }],
    ['name', '/v1/products', { ...product, name: 'a\0b' }],
    ['name', '/v1/products', { ...product, name: '\ud800' }],
    ['name', '/v1/products', { price: 1, stock: 1 }],
    ['price', '/v1/products', { ...product, price: -1 }],
    ['price', '/v1/products', { ...product, price: 0.5 }],
    ['price', '/v1/products', { ...product, price: '5' }],
    ['stock', '/v1/products', { ...product, stock: 2 ** 53 }],
    ['colour', '/v1/products', { ...product, colour: 'green' }],
    ['body', '/v1/products', [product]],
    ['body', '/v1/products', '{"name":'],
    ['body', '/v1/products', ''],
    ['delta', adjustments, { delta: 1.5, reason: 'restock' }],
    ['reason', adjustments, { delta: 1, reason: 'order' }],
    ['productId', '/v1/products/a%20b/stock-adjustments', { delta: 1, reason: 'restock' }],
    [
      'productId',
      `/v1/products/${'x'.repeat(65)}/stock-adjustments`,
      { delta: 1, reason: 'restock' },
    ],
  ])('%s: %s %j', async (field, url, payload) => {
    const response = await post(url, payload);
    expect(response.statusCode).toBe(400);
    expect(response.headers['content-type']).toContain('application/problem+json');
    expect(response.json().errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });

  const line = order.items[0];
  const cancel = '/v1/orders/order-1/cancel';
  test.each<[field: string, url: string, payload: unknown]>([
    ['items', '/v1/orders', { ...order, items: [] }],
    ['items', '/v1/orders', { ...order, items: Array(101).fill(line) }],
    ['items', '/v1/orders', { ...order, items: line }],
    ['items', '/v1/orders', { paymentToken: 'tok_approve' }],
    ['items.0.quantity', '/v1/orders', { ...order, items: [{ ...line, quantity: 0 }] }],
    ['items.1.quantity', '/v1/orders', { ...order, items: [line, { ...line, quantity: -1 }] }],
    ['items.0.quantity', '/v1/orders', { ...order, items: [{ ...line, quantity: 1.5 }] }],
    ['items.0.quantity', '/v1/orders', { ...order, items: [{ ...line, quantity: '1' }] }],
    ['items.0.quantity', '/v1/orders', { ...order, items: [{ ...line, quantity: 2 ** 53 }] }],
    ['items.0.quantity', '/v1/orders', { ...order, items: [{ productId: 'tea' }] }],
    ['items.0.productId', '/v1/orders', { ...order, items: [{ ...line, productId: 'a b' }] }],
    ['items.0.price', '/v1/orders', { ...order, items: [{ ...line, price: 1 }] }],
    [
      'items.1.quantity',
      '/v1/orders',
      { ...order, items: [{ ...line, quantity: 2 ** 53 - 1 }, line] },
    ],
    ['paymentToken', '/v1/orders', { ...order, paymentToken: '' }],
    ['paymentToken', '/v1/orders', { ...order, paymentToken: 'x'.repeat(256) }],
    ['paymentToken', '/v1/orders', { items: order.items }],
    ['userId', '/v1/orders', { ...order, userId: 'bob' }],
    ['body', '/v1/orders', [order]],
    ['reason', cancel, { reason: 'x'.repeat(501) }],
    ['reason', cancel, { reason: 'a\0b' }],
    ['why', cancel, { why: 'x' }],
    ['orderId', '/v1/orders/a%20b/cancel', {}],
  ])('%s: %s %j', async (field, url, payload) => {
    const response = await post(url, payload, ann);
    expect(response.statusCode).toBe(400);
    expect(response.json().errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });

  test.each<[field: string, url: string, payload: unknown]>([
    ['id', '/v1/dead-letters/x/redrive', {}],
    ['again', '/v1/dead-letters/1/redrive', { again: 'yes' }],
    ['reason', '/v1/dead-letters/1/discard', {}],
    ['reason', '/v1/dead-letters/1/discard', { reason: '' }],
    ['expected', '/v1/dead-letters/redrive', { filter: {} }],
    ['expected', '/v1/dead-letters/redrive', { filter: {}, expected: -1 }],
    ['filter', '/v1/dead-letters/redrive', { expected: 1 }],
    ['filter.status', '/v1/dead-letters/redrive', { filter: { status: 'parked' }, expected: 1 }],
    ['filter.since', '/v1/dead-letters/redrive', { filter: { since: 'now' }, expected: 1 }],
    ['reason', '/v1/dead-letters/discard', { filter: {}, expected: 1 }],
  ])('%s: %s %j', async (field, url, payload) => {
    const response = await post(url, payload);
    expect(response.statusCode).toBe(400);
    expect(response.json().errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });

  test.each([
    ['sort', '/v1/metrics/products?sort=price'],
    ['day', '/v1/metrics/products?day=2026-02-30'],
    ['day', '/v1/metrics/products?day=0000-01-01'],
    ['cursor', '/v1/metrics/products?cursor=x'],
    ['cursor', '/v1/metrics/products/tea/users?cursor=x'],
    ['type', '/v1/events?type=Nothing'],
    ['aggregateId', '/v1/events?aggregateId=a%20b'],
    ['after', '/v1/events?after=x'],
    ['status', '/v1/orders?status=LOST'],
    ['user', '/v1/orders?user=a%20b'],
    ['product', '/v1/orders?product='],
    ['older-than', '/v1/orders?older-than=10'],
    ['after', '/v1/orders?after=x'],
    ['orderId', '/v1/orders/a%20b/timeline'],
    ['status', '/v1/dead-letters?status=lost'],
    ['cursor', '/v1/dead-letters?cursor=x'],
    ['id', '/v1/dead-letters/0'],
    ['since', '/v1/dead-letters?since=yesterday'],
    ['until', '/v1/dead-letters/groups?until=2026-02-30T00:00:00Z'],
    ['producer', `/v1/dead-letters/groups?producer=${'x'.repeat(201)}`],
    ['status', '/v1/dead-letters/check?status=lost'],
    ['id', '/v1/dead-letters/x/check'],
    ['limit', '/v1/products?limit=0'],
    ['limit', '/v1/products?limit=101'],
    ['limit', '/v1/products?limit=1&limit=2'],
    ['limit', '/v1/products?limit=0x10'],
    ['limit', '/v1/products?limit=1e2'],
    ['limit', '/v1/products?limit=%205'],
    ['limit', '/v1/products?limit=5%20'],
    ['limit', '/v1/products?limit=+5'],
    ['limit', '/v1/products?limit=5.0'],
    ['limit', '/v1/products?limit='],
    ['limit', '/v1/products?limit=%EF%BC%95'],
    ['limit', '/v1/products?limit=9999999999999999999999'],
    ['recent', '/v1/stream?recent=0x1'],
    ['recent', '/v1/stream?recent=-1'],
    ['cursor', '/v1/products?cursor=!!'],
    ['page', '/v1/products?page=2'],
    ['productId', '/v1/products/a%20b'],
  ])('%s: GET %s', async (field, url) => {
    const response = await get(url);
    expect(response.statusCode).toBe(400);
    expect(response.json().errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });
});

describe('what is wrong is told in plain words', () => {
  const whole = 'must be a whole number from';
  const largest = Number.MAX_SAFE_INTEGER;

  test.each<[payload: unknown, messages: Record<string, string>]>([
    [{}, { name: 'is required', price: 'is required', stock: 'is required' }],
    [{ ...product, name: 5 }, { name: 'must be a string' }],
    [{ ...product, name: '' }, { name: 'must have 1 to 200 characters' }],
    [{ ...product, price: '5' }, { price: `${whole} 0 to ${largest}` }],
    [{ ...product, price: 0.5 }, { price: `${whole} 0 to ${largest}` }],
    [{ ...product, price: -1 }, { price: `${whole} 0 to ${largest}` }],
    [{ ...product, stock: 1e300 }, { stock: `${whole} 0 to ${largest}` }],
    [
      { ...product, x: 1, y: 2 },
      { x: 'is not a known field', y: 'is not a known field' },
    ],
    ['{"name":', { body: 'is not valid JSON' }],
    ['', { body: 'is required' }],
    [[], { body: 'must be an object' }],
  ])('%j', async (payload, messages) => {
    expect(messagesOf(await post('/v1/products', payload))).toEqual(messages);
  });

  test.each<[payload: unknown, messages: Record<string, string>]>([
    [{ ...order, items: 1 }, { items: 'must be an array' }],
    [{ ...order, items: [] }, { items: 'must have 1 to 100 items' }],
    [{ ...order, items: [[]] }, { 'items.0': 'must be an object' }],
    [{ ...order, items: [{ quantity: 1 }] }, { 'items.0.productId': 'is required' }],
  ])('%j', async (payload, messages) => {
    expect(messagesOf(await post('/v1/orders', payload, ann))).toEqual(messages);
  });

  test.each<[url: string, messages: Record<string, string>]>([
    ['/v1/products?limit=101', { limit: `${whole} 1 to 100` }],
    ['/v1/products?limit=99999999999999999999', { limit: `${whole} 1 to 100` }],
    ['/v1/products?limit=x', { limit: `${whole} 1 to 100` }],
    ['/v1/products?limit=1&limit=2', { limit: 'must be given once' }],
    ['/v1/stream?recent=101', { recent: `${whole} 0 to 100` }],
    ['/v1/metrics/products?sort=x', { sort: 'must be one of sales, likes, views' }],
    ['/v1/metrics/products?day=x', { day: 'must be a date such as 2026-01-31' }],
  ])('%s', async (url, messages) => {
    const response = await get(url);
    expect(messagesOf(response)).toEqual(messages);
    const [[field, message] = []] = Object.entries(messages);
    expect(response.json().detail).toBe(`${field}: ${message}`);
  });

  test('true or false', async () => {
    const response = await post('/v1/dead-letters/1/redrive', { again: 'yes' });
    expect(messagesOf(response)).toEqual({ again: 'must be true or false' });
  });

  function messagesOf(response: { json(): { errors: { field: string; message: string }[] } }) {
    const { errors } = response.json();
    return Object.fromEntries(errors.map(({ field, message }) => [field, message]));
  }
});

describe('problems that no route knows of', () => {
  test('an unknown route is 404, without asking for a key', async () => {
    const response = await get('/v1/nothing?secret=1', {});
    expect(response.statusCode).toBe(404);
    expect(response.json()).toEqual({
      type: 'about:blank',
      title: 'Not Found',
      status: 404,
      code: 'NOT_FOUND',
      detail: 'No such route: GET /v1/nothing. See /docs.',
    });
  });

  test('a URL that cannot be decoded is 400', async () => {
    const response = await get('/v1/products/%zz');
    expect(response.statusCode).toBe(400);
    expect(response.headers['content-type']).toContain('application/problem+json');
  });

  test('a body of more than 64 KiB is 413', async () => {
    const response = await post('/v1/products', { ...product, name: 'x'.repeat(64 * 1024) });
    expect(response.statusCode).toBe(413);
    expect(response.json().code).toBe('BODY_TOO_LARGE');
  });

  test('a body that is no JSON by its type is 415', async () => {
    const headers = { ...operator, 'content-type': 'text/plain' };
    expect((await post('/v1/products', 'name=Tea', headers)).statusCode).toBe(415);
  });

  test('what is not HTTP is rejected as such', async () => {
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connect(port, '127.0.0.1', () => socket.write('HELLO\r\n\r\n'));
      socket.on('data', (data) => (text += data.toString()));
      socket.on('end', () => resolve(text)).on('error', reject);
    });
    expect(answer).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/);
    expect(answer).toContain('application/problem+json');
  });
});

test('an idle connection is kept for longer than load balancers usually keep theirs, a minute', () => {
  expect(app.server.keepAliveTimeout).toBeGreaterThan(60_000);
});

describe('with its dependencies away', () => {
  test('the process is alive', async () => {
    const response = await get('/healthz', {});
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({ status: 'ok' });
  });

  test('it is not ready, and names each dependency without telling where it is', async () => {
    const response = await get('/readyz', {});
    expect(response.statusCode).toBe(503);
    expect(response.json()).toMatchObject({
      status: 'unavailable',
      dependencies: {
        postgres: { status: 'down', required: true },
        temporal: { status: 'down', required: true },
        kafka: { status: 'down', required: false },
        redis: { status: 'down', required: false },
      },
    });
    expect(response.body).not.toContain('127.0.0.1');
  });

  test('a change without Temporal is 503 soon, and says that nothing has happened', async () => {
    const begun = Date.now();
    const response = await post('/v1/products', product);
    expect(response.statusCode).toBe(503);
    expect(response.json().code).toBe('TEMPORAL_UNAVAILABLE');
    expect(response.headers['retry-after']).toBe('2');
    expect(Date.now() - begun).toBeLessThan(4_000);
  });

  test('an order is checked against the products before anything is started for it', async () => {
    const response = await post('/v1/orders', order, ann);
    expect(response.json().code).toBe('DATABASE_UNAVAILABLE');
  });

  test('a read without the database is 503, with the ID under which the logs tell more', async () => {
    const response = await get('/v1/products/tea');
    expect(response.statusCode).toBe(503);
    expect(response.json()).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      requestId: expect.any(String),
    });
    expect(response.body).not.toContain('ECONNREFUSED');
  });

  test('a key cannot be claimed without the database, so nothing is done', async () => {
    const headers = { ...operator, 'idempotency-key': 'key' };
    const response = await post('/v1/products', product, headers);
    expect(response.json().code).toBe('DATABASE_UNAVAILABLE');
  });
});
