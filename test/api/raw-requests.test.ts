/** What HTTP libraries hide from those who test with them: requests as bytes on a socket. */
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import Fastify, { type FastifyInstance } from 'fastify';
import { jsonBodies } from '../../api/http/plugins/json-bodies';
import { pipelining } from '../../api/http/plugins/pipelining';
import { problemDetails } from '../../api/http/plugins/problem-details';
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';
import { until } from '../../testkit/until';

const operator = 'Authorization: Bearer dev-operator-key';
const ann = ['Authorization: Bearer dev-shopper-key', 'X-User-Id: ann'];
const json = 'Content-Type: application/json';

/** A request as it goes over the network; its length is that of its body. */
function request(line: string, headers: readonly string[], body?: string | Buffer): Buffer {
  const length = body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  const head = [`${line} HTTP/1.1`, 'Host: x', ...headers, ...length, '', ''].join('\r\n');
  return Buffer.concat([Buffer.from(head), Buffer.from(body ?? '')]);
}

/** Sends bytes, and answers all that comes until the server ends the connection. */
async function exchange(app: FastifyInstance, bytes: Buffer): Promise<string> {
  const { port } = app.server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
  let text = '';
  socket.on('data', (data) => (text += data.toString()));
  await once(socket, 'close');
  return text;
}

const close = 'Connection: close';

describe('one request', () => {
  let server: DisconnectedServer;

  beforeAll(async () => {
    server = await createDisconnectedServer();
    await server.app.listen({ host: '127.0.0.1', port: 0 });
  });

  afterAll(() => server.stop());

  async function answerTo(line: string, headers: readonly string[], body?: string | Buffer) {
    const text = await exchange(server.app, request(line, [close, ...headers], body));
    const [head = '', content = ''] = text.split('\r\n\r\n');
    return { status: Number(head.split(' ')[1]), head, problem: parse(content) };
  }

  function parse(content: string): { code: string; detail: string; errors?: object[] } {
    return content === '' ? { code: '', detail: '' } : JSON.parse(content);
  }

  const like = '/v1/products/tea/like';

  test.each([
    ['PUT', like, [...ann, json]],
    ['PUT', like, [...ann, json, 'Content-Length: 0']],
    ['DELETE', like, [...ann, json]],
    ['POST', '/v1/orders/order-1/cancel', [...ann, json]],
  ])('%s %s that only names the type of a body is taken', async (method, url, headers) => {
    // It gets as far as to the database, which is away.
    expect((await answerTo(`${method} ${url}`, headers)).problem.code).toBe('DATABASE_UNAVAILABLE');
  });

  test('an empty chunked body is none', async () => {
    const headers = [...ann, json, close, 'Transfer-Encoding: chunked'];
    const bytes = Buffer.concat([request(`PUT ${like}`, headers), Buffer.from('0\r\n\r\n')]);
    expect(await exchange(server.app, bytes)).toContain('DATABASE_UNAVAILABLE');
  });

  test('a body that is needed is missed by its name', async () => {
    const { status, problem } = await answerTo('POST /v1/products', [operator, json]);
    expect(status).toBe(400);
    expect(problem.errors).toEqual([{ field: 'body', message: 'is required' }]);
  });

  test.each([
    ['POST', '/v1/metrics/products', 'GET, HEAD'],
    ['PATCH', '/v1/products', 'GET, HEAD, POST'],
    ['PROPFIND', '/v1/products/tea', 'GET'],
    ['HEAD', '/v1/products/tea', 'GET'],
    ['OPTIONS', like, 'DELETE, PUT'],
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['POST', '/', 'GET, HEAD'],
  ])('%s %s is 405 and says that the path takes %s', async (method, url, allow) => {
    const { status, head, problem } = await answerTo(`${method} ${url}?x=1`, [json], '{');
    expect(status).toBe(405);
    expect(/\r\nallow: (.*)\r\n/i.exec(head)?.[1]).toBe(allow);
    expect(head).toContain('X-Content-Type-Options: nosniff');
    if (method !== 'HEAD') expect(problem.code).toBe('METHOD_NOT_ALLOWED');
  });

  test.each(['POST /v1/nothing', 'PUT /v1/products/tea/likes'])('%s stays 404', async (line) => {
    expect((await answerTo(line, [operator])).status).toBe(404);
  });

  test('a body that is not UTF-8 is 400, and nothing of it is replaced', async () => {
    const name = Buffer.from([0x54, 0xe9]);
    const body = Buffer.concat([
      Buffer.from('{"price":1,"stock":1,"name":"'),
      name,
      Buffer.from('"}'),
    ]);
    const { status, problem } = await answerTo('POST /v1/products', [operator, json], body);
    expect(status).toBe(400);
    expect(problem).toMatchObject({
      code: 'INVALID_BODY',
      errors: [{ field: 'body', message: 'is not valid UTF-8' }],
    });
  });

  test('a compressed body is 415 under a code of its own', async () => {
    const headers = [operator, json, 'Content-Encoding: gzip'];
    const { status, problem } = await answerTo('POST /v1/products', headers, gzipSync('{}'));
    expect(status).toBe(415);
    expect(problem.code).toBe('UNSUPPORTED_CONTENT_ENCODING');
  });

  test('a body that says that it is not compressed is taken', async () => {
    const headers = [operator, json, 'Content-Encoding: identity'];
    expect((await answerTo('POST /v1/products', headers, '{}')).problem.code).toBe(
      'VALIDATION_FAILED',
    );
  });

  test('two lines of Idempotency-Key are 400, and claim no key', async () => {
    const headers = [operator, json, 'Idempotency-Key: a', 'idempotency-key: b'];
    const body = '{"name":"Tea","price":1,"stock":1}';
    const { status, problem } = await answerTo('POST /v1/products', headers, body);
    expect(status).toBe(400);
    expect(problem.errors).toEqual([{ field: 'Idempotency-Key', message: 'must be given once' }]);
  });
});

describe('requests that are sent without waiting for answers', () => {
  let app: FastifyInstance;
  let begun: string[];
  let finish: Record<string, () => void>;

  beforeEach(async () => {
    begun = [];
    finish = {};
    app = Fastify();
    await app.register(problemDetails);
    await app.register(jsonBodies);
    await app.register(pipelining);
    app.all('/changes/:name', async ({ params }) => {
      const { name } = params as { name: string };
      begun.push(name);
      await new Promise<void>((resolve) => (finish[name] = resolve));
      return name;
    });
    app.get('/refused', { onRequest: async () => Promise.reject(new Error('refused')) }, () => '');
    await app.listen({ host: '127.0.0.1', port: 0 });
  });

  afterEach(() => app.close());

  const change = (method: string, name: string, ...rest: string[]) =>
    request(
      `${method} /changes/${name}`,
      [json, ...rest],
      method === 'PUT' ? '{"a":1}' : undefined,
    );

  const untilBegun = (...names: string[]) =>
    until(`${names.join()} have begun`, () => begun.join() === names.join(), { timeoutMs: 5_000 });

  test('on one connection begin when those before them are answered', async () => {
    const bytes = [change('PUT', 'one'), change('DELETE', 'two'), change('GET', 'three', close)];
    const answers = exchange(app, Buffer.concat(bytes));
    await untilBegun('one');
    finish['one']!();
    await untilBegun('one', 'two');
    finish['two']!();
    await untilBegun('one', 'two', 'three');
    finish['three']!();
    expect((await answers).match(/(?<=\r\n\r\n)[a-z]+/g)).toEqual(['one', 'two', 'three']);
  });

  test('on other connections wait for none of them', async () => {
    const answers = ['one', 'two'].map((name) => exchange(app, change('PUT', name, close)));
    await until('both have begun', () => begun.length === 2, { timeoutMs: 5_000 });
    begun.forEach((name) => finish[name]!());
    expect((await Promise.all(answers)).join()).toMatch(/one.*two/s);
  });

  test('do not overtake when one between them is refused at once', async () => {
    const refused = request('GET /refused', []);
    const bytes = [change('PUT', 'one'), refused, change('DELETE', 'two', close)];
    const answers = exchange(app, Buffer.concat(bytes));
    await untilBegun('one');
    // The second has been answered by now, though its answer has to wait.
    await new Promise(setImmediate);
    expect(begun).toEqual(['one']);
    finish['one']!();
    await untilBegun('one', 'two');
    finish['two']!();
    expect(await answers).toMatch(/200 OK.*500 Internal.*200 OK/s);
  });

  test('beyond a hundred are refused with 503 instead of waiting', async () => {
    const bytes = Array.from({ length: 100 }, () => change('PUT', 'one'));
    const answers = exchange(app, Buffer.concat([...bytes, change('PUT', 'late', close)]));
    for (let answered = 0; answered < 100; answered += 1) {
      await until('the next has begun', () => begun.length > answered, { timeoutMs: 5_000 });
      finish['one']!();
    }
    const text = await answers;
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual([
      ...Array<string>(100).fill('HTTP/1.1 200'),
      'HTTP/1.1 503',
    ]);
    expect(begun).not.toContain('late');
  });
});
