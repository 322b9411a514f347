/**
 * Threat: answers and logs tell an attacker how the server is made, or a secret (OWASP API8).
 */
import { PassThrough } from 'node:stream';
import { createLogger } from '../../platform/observability/logger';
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';
import { readOperations, sampleUrl, type DescribedOperation } from '../../testkit/http-operations';

const secrets = {
  operator: 'a-secret-of-an-operator',
  shopper: 'a-secret-of-a-shopper',
  token: 'tok_a-secret-of-a-card',
  wrong: 'a-secret-of-somewhere-else',
};

let server: DisconnectedServer;
let all: DescribedOperation[];
let logged = '';

beforeAll(async () => {
  const destination = new PassThrough();
  destination.on('data', (chunk: Buffer) => (logged += chunk.toString()));
  server = await createDisconnectedServer(
    { API_KEYS: `me:operator:${secrets.operator},app:shopper:${secrets.shopper}` },
    createLogger('api', 'trace', destination),
  );
  all = await readOperations(server.app);
});

afterAll(() => server.stop());

const order = { items: [{ productId: 'tea', quantity: 1 }], paymentToken: secrets.token };

// These go on asking in the background; test/api/server.test.ts has what /readyz may tell.
const lasting = ['/v1/stream', '/readyz', '/v1/processes', '/v1/lag', '/v1/status'];

/** Requests of every kind: refused ones, broken ones, and those that fail without any dependency. */
async function answersOfAllKinds() {
  const asked = all.filter(({ path }) => !lasting.includes(path));
  const ofOperations = asked.map(async (operation) => {
    const secret = operation.key === 'shopper' ? secrets.shopper : secrets.operator;
    const { method } = operation;
    return server.app.inject({
      method: method as 'GET',
      url: sampleUrl(operation),
      headers: { authorization: `Bearer ${secret}`, 'x-user-id': 'ann' },
      ...(operation.path === '/v1/orders' ? { payload: order } : {}),
    });
  });
  const broken = [
    server.app.inject({
      url: '/v1/products',
      headers: { authorization: `Bearer ${secrets.wrong}` },
    }),
    server.app.inject({ url: `/v1/products?key=${secrets.wrong}` }),
    server.app.inject({ url: '/v1/products/%zz' }),
    server.app.inject({ url: '/nothing' }),
    server.app.inject({
      method: 'POST',
      url: '/v1/orders',
      headers: { authorization: `Bearer ${secrets.shopper}`, 'x-user-id': 'ann' },
      payload: { ...order, paymentToken: `${secrets.token}\0` },
    }),
  ];
  return Promise.all([...ofOperations, ...broken]);
}

test('no answer reveals code, addresses or statements, and each has its security headers', async () => {
  const answers = await answersOfAllKinds();
  expect(answers.filter(({ statusCode }) => statusCode >= 500).length).toBeGreaterThan(10);
  for (const { statusCode, headers, body } of answers) {
    expect(headers['x-content-type-options']).toBe('nosniff');
    // A URL that cannot be read has no route, and no hook that adds the others.
    if (body.includes('BAD_REQUEST')) continue;
    expect(headers).toMatchObject({
      'x-frame-options': 'SAMEORIGIN',
      'strict-transport-security': expect.stringContaining('max-age='),
      'content-security-policy': expect.any(String),
      'referrer-policy': 'no-referrer',
    });
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).not.toHaveProperty('server');
    if (statusCode < 400) continue;
    expect(body).not.toMatch(
      /node_modules|\bat .*\.ts|connect ECONN|127\.0\.0\.1|SELECT |INSERT |\.ts:/,
    );
    for (const secret of Object.values(secrets)) expect(body).not.toContain(secret);
  }
}, 60_000);

test('answers that need a key are kept by no cache', async () => {
  const headers = { authorization: `Bearer ${secrets.operator}` };
  const answer = await server.app.inject({ url: '/v1/dashboard/settings', headers });
  expect(answer.statusCode).toBe(200);
  expect(answer.headers['cache-control']).toBe('no-store');
});

test('the logs tell of every request and of no secret, at the finest level', () => {
  expect(logged).toContain('"path":"/v1/orders"');
  expect(logged).toContain('request failed');
  for (const secret of Object.values(secrets)) expect(logged).not.toContain(secret);
});

test('the logger hides a secret also where code passes one to it', () => {
  let text = '';
  const destination = new PassThrough().on('data', (chunk: Buffer) => (text += chunk.toString()));
  const logger = createLogger('api', 'info', destination);
  logger.info({ paymentToken: secrets.token, request: { authorization: secrets.operator } }, 'x');
  expect(text).toContain('[secret]');
  expect(text).not.toContain(secrets.token);
  expect(text).not.toContain(secrets.operator);
});
