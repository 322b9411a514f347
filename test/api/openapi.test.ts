/** The description of the API against the API itself; what it answers is held to it in `test/integration/`. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Fastify from 'fastify';
import { problems } from '../../api/http/problems';
import { validateInput } from '../../api/http/validation';
import { openApi } from '../../api/openapi/document';
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly responses: Readonly<Record<string, Answer>>;
}

interface Answer {
  readonly content?: {
    readonly 'application/problem+json'?: {
      readonly schema: { readonly properties: { readonly code: { readonly enum: string[] } } };
    };
  };
}

let server: DisconnectedServer;
let text: string;
let described: Map<string, Operation>;

beforeAll(async () => {
  server = await createDisconnectedServer();
  text = (await server.app.inject('/openapi.json')).body;
  const { paths } = JSON.parse(text) as { paths: Record<string, Record<string, Operation>> };
  described = new Map(
    Object.entries(paths).flatMap(([url, item]) =>
      Object.entries(item).map(([method, operation]) => [
        `${method.toUpperCase()} ${url}`,
        operation,
      ]),
    ),
  );
});

afterAll(() => server.stop());

test('it is valid OpenAPI 3.1', () => {
  // The validator comes as ES modules, which Node.js loads and jest does not.
  const program = `require('@readme/openapi-parser')
    .validate(JSON.parse(require('node:fs').readFileSync(0, 'utf8')))
    .then((result) => console.log(JSON.stringify(result)))`;
  const result = execFileSync(process.execPath, ['-e', program], { input: text });
  expect(JSON.parse(String(result))).toMatchObject({ valid: true, warnings: [] });
  expect(JSON.parse(text)).toMatchObject({ openapi: '3.1.0' });
});

test('a route that does not declare its operation is not registered', async () => {
  const app = Fastify();
  app.setValidatorCompiler(validateInput);
  await app.register(openApi);
  const handler = () => 'made';
  expect(() => app.get('/things/:id', handler)).toThrow('GET /things/{id} declares no operation.');
  expect(() => app.get('/page', { schema: { hide: true } }, handler)).not.toThrow();
  await app.close();
});

test('every operation has a name of its own, a group, an example and its answers', () => {
  const all = [...described.values()];
  expect(new Set(all.map(({ operationId }) => operationId)).size).toBe(all.length);
  for (const { operationId, summary, description, tags, responses } of all) {
    expect(operationId).toMatch(/^[a-z][A-Za-z]+$/);
    expect(summary).not.toBe('');
    expect(description).toContain('curl -i');
    expect(tags).toHaveLength(1);
    expect(Object.keys(responses).some((status) => status.startsWith('2'))).toBe(true);
    expect(responses).not.toHaveProperty('default');
  }
});

test.each([
  'POST /v1/products',
  'GET /v1/products',
  'GET /v1/products/{productId}',
  'POST /v1/products/{productId}/stock-adjustments',
  'PUT /v1/products/{productId}/like',
  'DELETE /v1/products/{productId}/like',
  'POST /v1/orders',
  'GET /v1/orders/{orderId}',
  'POST /v1/orders/{orderId}/cancel',
  'GET /v1/metrics/products',
  'GET /v1/metrics/products/{productId}',
  'GET /v1/metrics/products/{productId}/users',
  'GET /v1/events',
  'GET /v1/events/{eventId}',
  'GET /v1/search',
  'GET /v1/dead-letters',
  'GET /v1/dead-letters/groups',
  'GET /v1/dead-letters/check',
  'GET /v1/dead-letters/{id}/check',
  'POST /v1/dead-letters/redrive',
  'POST /v1/dead-letters/discard',
  'POST /v1/dead-letters/{id}/redrive',
  'POST /v1/dead-letters/{id}/discard',
  'POST /v1/verification',
  'GET /v1/verification',
  'GET /v1/stream',
  'GET /openapi.json',
  'GET /healthz',
  'GET /readyz',
  'GET /metrics',
])('%s is in it', (operation) => {
  expect([...described.keys()]).toContain(operation);
});

// They answer what is no request to an operation.
const beforeAnyOperation = [
  'NOT_FOUND',
  'METHOD_NOT_ALLOWED',
  'HEADERS_TOO_LARGE',
  'REQUEST_TIMEOUT',
];

test('every problem that is defined is thrown somewhere', () => {
  const thrown = sourcesOf('api').flatMap((source) =>
    [...source.matchAll(/(?:new Problem|super)\(\s*'([A-Z_]+)'/g)].map(([, code]) => code!),
  );
  expect([...new Set(thrown)].sort()).toEqual(Object.keys(problems).sort());
});

test('every problem is documented by an operation, under its status', () => {
  const documented = [...described.values()].flatMap(({ responses }) =>
    Object.entries(responses).flatMap(([status, { content }]) => {
      const codes = content?.['application/problem+json']?.schema.properties.code.enum ?? [];
      return codes.map((code) => [code, { status: Number(status) }] as const);
    }),
  );
  const defined = Object.entries(problems).filter(([code]) => !beforeAnyOperation.includes(code));
  expect(Object.fromEntries(documented)).toEqual(
    Object.fromEntries(defined.map(([code, { status }]) => [code, { status }])),
  );
});

function sourcesOf(folder: string): string[] {
  const root = path.join(__dirname, '..', '..', folder);
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(path.join(root, file), 'utf8'));
}

test.each(['/openapi.json', '/asyncapi.json', '/schemas/StockAdjusted/1', '/docs'])(
  '%s needs no key',
  async (url) => {
    expect((await server.app.inject(url)).statusCode).toBe(200);
  },
);

test("the viewer's policy allows nothing inline and no other host", async () => {
  for (const url of ['/docs', '/docs/static/swagger-ui-bundle.js']) {
    const { headers } = await server.app.inject(url);
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
  }
});

test('the schema that events name is served under that name', async () => {
  const response = await server.app.inject('/schemas/LikeChanged/1');
  expect(response.headers['content-type']).toBe('application/schema+json; charset=utf-8');
  expect(response.json()).toMatchObject({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: '/schemas/LikeChanged/1',
  });
});

test.each([
  ['/schemas/LikeChanged/2', 404, 'SCHEMA_NOT_FOUND'],
  ['/schemas/Unheard/1', 404, 'SCHEMA_NOT_FOUND'],
  ['/schemas/LikeChanged/latest', 400, 'VALIDATION_FAILED'],
])('%s is %i %s', async (url, status, code) => {
  const response = await server.app.inject(url);
  expect(response.statusCode).toBe(status);
  expect(response.json().code).toBe(code);
});

test('the viewer shows examples for the host that serves it, and for no other text of a client', async () => {
  const read = async (host: string): Promise<string> =>
    (await server.app.inject({ url: '/docs/json', headers: { host } })).body;

  const seen = await read('shop.example:8443');
  expect(seen).toContain('curl -i');
  expect(seen).toContain('http://shop.example:8443/v1/orders');
  expect(seen).not.toContain('127.0.0.1:3000');
  expect(JSON.parse(seen).servers).toEqual([{ url: '/', description: 'this server' }]);
  expect(await read('$(id)')).not.toContain('$(id)');
});
