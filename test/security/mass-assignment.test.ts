/**
 * Threat: a client sends fields that are not its to set, such as the price or the user of an order,
 * hoping that they are taken over (OWASP API3), or an address for the server to call (API7).
 */
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';
import {
  readOperations,
  sampleUrl,
  type DescribedOperation,
  type JsonSchema,
} from '../../testkit/http-operations';

let server: DisconnectedServer;
let all: DescribedOperation[];

beforeAll(async () => {
  server = await createDisconnectedServer();
  all = await readOperations(server.app);
});

afterAll(() => server.stop());

const notTheirs = [
  'userId',
  'role',
  'price',
  'status',
  'stock',
  'orderId',
  '__proto__',
  'constructor',
];

async function send(
  { key, method, ...operation }: DescribedOperation,
  query: string,
  body?: string,
) {
  return server.app.inject({
    method: method as 'GET',
    url: `${sampleUrl({ key, method, ...operation })}${query}`,
    headers: {
      authorization: `Bearer dev-${key === 'shopper' ? 'shopper' : 'operator'}-key`,
      'x-user-id': 'ann',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { payload: body }),
  });
}

test('every object in a body rejects unknown fields', () => {
  const open = all
    .filter(({ body }) => body !== undefined)
    .filter(({ body }) => objectsIn(body!).some((each) => each.additionalProperties !== false));
  expect(open.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
});

function objectsIn(schema: JsonSchema): JsonSchema[] {
  const inner = [
    ...Object.values(schema.properties ?? {}),
    ...(schema.anyOf ?? []),
    ...(schema.items === undefined ? [] : [schema.items]),
  ].flatMap(objectsIn);
  return schema.type === 'object' ? [schema, ...inner] : inner;
}

test.each(notTheirs)(
  'a field %s is refused with 400 by every operation without it',
  async (name) => {
    for (const operation of all.filter(({ body }) => body !== undefined)) {
      if (
        objectsIn(operation.body!).some(({ properties }) => Object.hasOwn(properties ?? {}, name))
      ) {
        continue;
      }
      const answer = await send(operation, '', `{${JSON.stringify(name)}: {"admin": true}}`);
      expect(`${operation.path} ${answer.statusCode}`).toBe(`${operation.path} 400`);
    }
  },
);

test('a parameter that nobody asked for is refused with 400 where a query is taken', async () => {
  const concerned = all.filter(({ parameters }) => parameters.some(({ in: at }) => at === 'query'));
  expect(concerned.length).toBeGreaterThan(4);
  for (const operation of concerned) {
    const answer = await send(operation, '?admin=true');
    expect(`${operation.path} ${answer.statusCode}`).toBe(`${operation.path} 400`);
  }
});

test('no request carries an address that the server could be made to call', () => {
  const texts = all.flatMap(({ body, parameters }) => [
    ...(body === undefined ? [] : [JSON.stringify(body)]),
    ...parameters.map(({ schema }) => JSON.stringify(schema)),
  ]);
  expect(texts.filter((text) => /"format":"(uri|url|hostname|ipv[46])/.test(text))).toEqual([]);
  const names = all.flatMap(({ body, parameters }) => [
    ...parameters.map(({ name }) => name),
    ...(body === undefined
      ? []
      : objectsIn(body).flatMap((each) => Object.keys(each.properties ?? {}))),
  ]);
  expect(names.filter((name) => /ur[il]|host|address|callback|webhook/i.test(name))).toEqual([]);
});
