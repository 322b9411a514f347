/**
 * Threat: somebody without a key, or with a shopper's, calls what only operators may
 * (OWASP API2 and API5), or a route that nobody remembers (API9).
 */
import { createHash } from 'node:crypto';
import Fastify from 'fastify';
import { authorization } from '../../api/http/plugins/authorization';
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';
import { readOperations, sampleUrl, type DescribedOperation } from '../../testkit/http-operations';

let server: DisconnectedServer;
let all: DescribedOperation[];

beforeAll(async () => {
  server = await createDisconnectedServer();
  all = await readOperations(server.app);
});

afterAll(() => server.stop());

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const keys = { operator: 'dev-operator-key', shopper: 'dev-shopper-key' };

async function statusOf(operation: DescribedOperation, headers: Record<string, string>) {
  const { method, path } = operation;
  const answer = await server.app.inject({
    method: method as 'GET',
    url: sampleUrl(operation),
    headers: { 'x-user-id': 'ann', ...headers },
  });
  return `${method} ${path} ${answer.statusCode}`;
}

async function statusesOf(
  concerned: readonly DescribedOperation[],
  headers: Record<string, string>,
): Promise<string[]> {
  return Promise.all(concerned.map((operation) => statusOf(operation, headers)));
}

const expected = (concerned: readonly DescribedOperation[], status: number): string[] =>
  concerned.map(({ method, path }) => `${method} ${path} ${status}`);

test.each([
  ['no key', {}],
  ['an unknown key', { authorization: 'Bearer somebody-elses' }],
  ['a key of the right beginning', { authorization: 'Bearer dev-operator-key-' }],
  ['a key in other letters', { authorization: 'Bearer DEV-OPERATOR-KEY' }],
  ['the hash of a key', { authorization: `Bearer ${sha256('dev-operator-key')}` }],
  ['two keys', { authorization: 'Bearer dev-operator-key dev-operator-key' }],
  [
    'a key as basic authentication',
    { authorization: `Basic ${btoa('operator:dev-operator-key')}` },
  ],
])('a stranger with %s gets 401 from everything below /v1', async (_, headers) => {
  const keyed = all.filter(({ key }) => key !== 'public');
  expect(keyed.length).toBeGreaterThan(20);
  expect(await statusesOf(keyed, headers)).toEqual(expected(keyed, 401));
});

test('a shopper gets 403 from every operation of operators', async () => {
  const concerned = all.filter(({ key }) => key === 'operator');
  expect(concerned.length).toBeGreaterThan(10);
  const headers = { authorization: `Bearer ${keys.shopper}` };
  expect(await statusesOf(concerned, headers)).toEqual(expected(concerned, 403));
});

test('HEAD reveals no more than GET to a stranger or a shopper', async () => {
  const concerned = all
    .filter(({ method, key }) => method === 'GET' && key === 'operator')
    .filter(({ path }) => path !== '/v1/stream')
    .map((operation) => ({ ...operation, method: 'HEAD' }));
  expect(concerned.length).toBeGreaterThan(5);
  expect(await statusesOf(concerned, {})).toEqual(expected(concerned, 401));
  const headers = { authorization: `Bearer ${keys.shopper}` };
  expect(await statusesOf(concerned, headers)).toEqual(expected(concerned, 403));
});

test('a route that does not say whose key it takes is not registered', async () => {
  const app = Fastify();
  await app.register(authorization);
  const handler = () => 'made';
  const example = { url: '/' };
  const operation = {
    operationId: 'x',
    tag: 'Process',
    summary: 'x',
    key: 'public',
    example,
  } as const;
  expect(() => app.get('/undeclared', handler)).toThrow('does not declare whose key it takes');
  expect(() => app.get('/public', { config: { operation } }, handler)).toThrow(TypeError);
  await app.close();
});

test('an operator gets 403 where only shoppers act, so that nobody buys in their name', async () => {
  const concerned = all.filter(({ key }) => key === 'shopper');
  const headers = { authorization: `Bearer ${keys.operator}` };
  expect(await statusesOf(concerned, headers)).toEqual(expected(concerned, 403));
});

test('a key in the URL opens nothing, so that none gets into the logs of a proxy', async () => {
  const answer = await server.app.inject(`/v1/products?key=${keys.operator}`);
  expect(answer.statusCode).toBe(401);
});

test('there is no route but those of the description, the dashboard and the viewer', async () => {
  const undocumented = routesOf(server.app.printRoutes({ commonPrefix: false })).filter(
    (route) => !all.some(({ method, path }) => `${method} ${path}` === route),
  );
  // The printed tree has the viewer's wildcard at another level than it is at.
  const ofViewer = (route: string) => /^GET \/docs\b| \/docs\/\*$/.test(route);
  const answering = await Promise.all(
    undocumented.map(async (route) => ((await isRefused(route)) || ofViewer(route) ? [] : [route])),
  );
  expect(answering.flat().sort()).toEqual(['GET /', 'GET /assets/{file}']);
});

async function isRefused(route: string): Promise<boolean> {
  const [method = '', path = ''] = route.split(' ');
  const url = path.replaceAll(/\{\w+\}/g, 'tea');
  return (await server.app.inject({ method: method as 'GET', url })).statusCode === 405;
}

test('what operators may demonstrate is not there without the development keys', async () => {
  const real = await createDisconnectedServer({ API_KEYS: 'me:operator:a-secret-of-my-own' });
  try {
    const paths = (await readOperations(real.app)).map(({ path }) => path);
    expect(paths.filter((path) => path.includes('demonstration'))).toEqual([]);
    const answer = await real.app.inject({
      method: 'POST',
      url: '/v1/demonstration/poison',
      headers: { authorization: 'Bearer a-secret-of-my-own' },
    });
    expect(answer.statusCode).toBe(404);
  } finally {
    await real.stop();
  }
});

/** The routes that Fastify prints as a tree, four characters to a level; HEAD goes with GET. */
function routesOf(tree: string): string[] {
  const prefixes: string[] = [];
  return tree.split('\n').flatMap((line) => {
    const [, indent, name, methods] = /^(.*[├└]── )(\S+) \((.*)\)/.exec(line) ?? [];
    if (indent === undefined || name === undefined || methods === undefined) return [];
    const level = indent.length / 4 - 1;
    // The root is printed as the parent of all, and is a prefix of none.
    prefixes[level] = level === 0 ? '/' : (prefixes[level - 1] ?? '') + name;
    const path = prefixes[level].replaceAll(/\/+/g, '/').replaceAll(/:(\w+)/g, '{$1}');
    return methods
      .split(', ')
      .filter((method) => method !== 'HEAD')
      .map((method) => `${method} ${path}`);
  });
}
