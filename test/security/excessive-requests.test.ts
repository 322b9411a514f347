/**
 * Threat: a client sends so much, or so slowly, that no other is served (OWASP API4): many
 * requests, many changes at once, large bodies, headers and pages, connections that are only held.
 */
import { once } from 'node:events';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import Fastify, { type FastifyInstance } from 'fastify';
import { boundDatabase, OverloadedError } from '../../api/http/overload';
import { authentication } from '../../api/http/plugins/authentication';
import { loadLimits } from '../../api/http/plugins/load-limits';
import { problemDetails } from '../../api/http/plugins/problem-details';
import { readConfig } from '../../platform/process/config';
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';

const operator = { authorization: 'Bearer dev-operator-key' };
const shopper = { authorization: 'Bearer dev-shopper-key' };

const stops: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function start(environment: Record<string, string> = {}): Promise<DisconnectedServer> {
  const server = await createDisconnectedServer(environment);
  stops.push(() => server.stop());
  return server;
}

describe('many requests with one key', () => {
  test('are answered 429 with Retry-After beyond the limit of a second, and no other key is', async () => {
    const { app } = await start({ API_READS_PER_SECOND: '5' });
    const ask = (headers: Record<string, string>) =>
      app.inject({ url: '/v1/products?limit=0', headers });
    const answers = [];
    for (let index = 0; index < 20; index += 1) answers.push(await ask(operator));
    const refused = answers.filter(({ statusCode }) => statusCode === 429);
    expect(refused.length).toBeGreaterThanOrEqual(10);
    expect(answers.some(({ statusCode }) => statusCode === 400)).toBe(true);
    expect(refused[0]!.headers['retry-after']).toBe('1');
    expect(refused[0]!.headers['content-type']).toContain('application/problem+json');
    expect(refused[0]!.json()).toMatchObject({ status: 429, code: 'TOO_MANY_REQUESTS' });
    expect((await ask(shopper)).statusCode).toBe(400);
  });

  test('are served again after the time in Retry-After', async () => {
    const { app } = await start({ API_READS_PER_SECOND: '1' });
    const ask = () => app.inject({ url: '/v1/products?limit=0', headers: operator });
    let answer = await ask();
    while (answer.statusCode !== 429) answer = await ask();
    await sleep(Number(answer.headers['retry-after']) * 1_000);
    expect((await ask()).statusCode).toBe(400);
  });

  test('of reading leave those of changing alone', async () => {
    const { app } = await start({ API_READS_PER_SECOND: '3', API_CHANGES_PER_SECOND: '1' });
    const read = () => app.inject({ url: '/v1/products?limit=0', headers: operator });
    await Promise.all([read(), read(), read()]);
    const change = { method: 'POST', url: '/v1/products', headers: operator, payload: {} } as const;
    expect((await app.inject(change)).statusCode).toBe(400);
  });
});

describe('many changes at once', () => {
  let app: FastifyInstance;
  let release: () => void;
  let begun: number;

  /** Their number may change while changes are under way. */
  const places = { count: 2, keptForOperators: 0 };

  async function startWith(count: number): Promise<void> {
    Object.assign(places, { count, keptForOperators: Math.floor(count / 8) });
    const released = new Promise<void>((resolve) => (release = resolve));
    begun = 0;
    app = Fastify();
    stops.push(() => app.close());
    await app.register(problemDetails);
    await app.register(authentication, { keys: readConfig({}).API_KEYS });
    await app.register(loadLimits, {
      readsPerSecond: 1_000,
      changesPerSecond: 1_000,
      places,
    });
    app.post('/changes', async () => {
      begun += 1;
      await released;
      return 'done';
    });
    app.post('/failures', async () => {
      throw new Error('x');
    });
    app.get('/reads', async () => 'read');
  }

  beforeEach(() => startWith(2));

  const change = (url = '/changes', headers = operator) =>
    app.inject({ method: 'POST', url, headers }).then((answer) => answer);

  async function untilBegun(count: number): Promise<void> {
    while (begun < count) await sleep(5);
  }

  test('beyond the limit are rejected at once with 503 and Retry-After, and reads continue', async () => {
    const under = [change(), change()];
    await untilBegun(2);
    const refused = await change();
    expect(refused.statusCode).toBe(503);
    expect(refused.headers['retry-after']).toBe('1');
    expect(refused.json()).toMatchObject({ code: 'OVERLOADED' });
    expect((await app.inject({ url: '/reads', headers: operator })).statusCode).toBe(200);
    release();
    expect((await Promise.all(under)).map(({ statusCode }) => statusCode)).toEqual([200, 200]);
    expect((await change()).statusCode).toBe(200);
  });

  test('of shoppers leave an eighth of the places to operators', async () => {
    await startWith(16);
    const under = Array.from({ length: 14 }, () => change('/changes', shopper));
    await untilBegun(14);
    expect((await change('/changes', shopper)).statusCode).toBe(503);
    under.push(change(), change());
    await untilBegun(16);
    expect((await change()).statusCode).toBe(503);
    release();
    const statuses = (await Promise.all(under)).map(({ statusCode }) => statusCode);
    expect(new Set(statuses)).toEqual(new Set([200]));
  });

  test('of operators are accepted in their share also where there are fewer places than before', async () => {
    await startWith(16);
    const under = Array.from({ length: 14 }, () => change('/changes', shopper));
    await untilBegun(14);
    places.count = 4;
    expect((await change('/changes', shopper)).statusCode).toBe(503);
    under.push(change(), change());
    await untilBegun(16);
    expect((await change()).statusCode).toBe(503);
    release();
    await Promise.all(under);
  });

  test('of operators in their share take no places from shoppers', async () => {
    await startWith(16);
    places.keptForOperators = 8;
    const under = Array.from({ length: 8 }, () => change());
    await untilBegun(8);
    under.push(...Array.from({ length: 14 }, () => change('/changes', shopper)));
    await untilBegun(22);
    expect((await change('/changes', shopper)).statusCode).toBe(503);
    release();
    await Promise.all(under);
  });

  test('give their places back also when they fail', async () => {
    for (let times = 0; times < 5; times += 1) {
      expect((await change('/failures')).statusCode).toBe(500);
    }
  });

  test('hold their places when their clients hang up, since their work continues', async () => {
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    for (let client = 0; client < 2; client += 1) {
      const socket = connect(port, '127.0.0.1');
      socket.write(
        'POST /changes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev-operator-key\r\n' +
          'Content-Length: 0\r\n\r\n',
      );
      await untilBegun(client + 1);
      socket.destroy();
      await once(socket, 'close');
    }
    expect((await change()).statusCode).toBe(503);
    release();
    let after = await change();
    for (let tries = 0; after.statusCode === 503 && tries < 100; tries += 1) {
      await sleep(10);
      after = await change();
    }
    expect(after.statusCode).toBe(200);
  });
});

test('reads take up a part of the connections only, and those beyond what may wait are refused', async () => {
  let running = 0;
  let most = 0;
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const reads = boundDatabase(
    {
      async query() {
        most = Math.max(most, (running += 1));
        await finished;
        running -= 1;
        return [];
      },
    },
    { maxRunning: 3, maxWaiting: 5, maxWaitMs: 1_000 },
  );
  const outcomes = Array.from({ length: 20 }, () =>
    reads.query({ text: 'SELECT' }).then(
      () => 'read',
      (error: unknown) => (error instanceof OverloadedError ? 'refused' : 'failed'),
    ),
  );
  finish();
  const counts = (await Promise.all(outcomes)).sort();
  expect(most).toBe(3);
  expect(counts).toEqual([...Array<string>(8).fill('read'), ...Array<string>(12).fill('refused')]);
});

test('reads behind a database that hangs are refused in time, and not run afterwards', async () => {
  const run: unknown[] = [];
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const reads = boundDatabase(
    {
      async query({ text }) {
        run.push(text);
        await finished;
        return [];
      },
    },
    { maxRunning: 1, maxWaiting: 5, maxWaitMs: 100 },
  );
  const first = reads.query({ text: 'first' });
  await expect(reads.query({ text: 'second' })).rejects.toBeInstanceOf(OverloadedError);
  finish();
  await first;
  await reads.query({ text: 'third' });
  expect(run).toEqual(['first', 'third']);
});

describe('over the network', () => {
  let port: number;

  async function listen(environment: Record<string, string> = {}): Promise<void> {
    const { app } = await start(environment);
    await app.listen({ host: '127.0.0.1', port: 0 });
    ({ port } = app.server.address() as AddressInfo);
  }

  /** Sends text, and answers all that comes until the server ends the connection. */
  async function exchange(text: string): Promise<string> {
    const socket = open();
    socket.write(text);
    let answer = '';
    socket.on('data', (data) => (answer += data.toString()));
    await once(socket, 'close');
    return answer;
  }

  function open(): Socket {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    stops.push(async () => socket.destroy());
    return socket;
  }

  test('headers of more than 16 KiB are 431', async () => {
    await listen();
    const answer = await exchange(
      `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(17_000)}\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 431 /);
    expect(answer).toContain('HEADERS_TOO_LARGE');
  });

  test('connections that never send all of their headers or body are ended within 20 s', async () => {
    await listen();
    const begun = Date.now();
    const answers = await Promise.all([
      exchange('GET / HTTP/1.1\r\nHost: x\r\n'),
      exchange(
        'POST /v1/products HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev-operator-key\r\n' +
          'Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
      ),
    ]);
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 408 /);
    expect(Date.now() - begun).toBeLessThan(20_000);
  }, 30_000);

  test('connections beyond the bound are cut, and the others served', async () => {
    await listen({ API_MAX_CONNECTIONS: '3' });
    const held = Array.from({ length: 3 }, open);
    await Promise.all(held.map((socket) => once(socket, 'connect')));
    // It is cut as it comes, which the client may see as an end or as a reset.
    const oneMore = open();
    await new Promise((resolve) => oneMore.once('close', resolve));
    expect(oneMore.bytesRead).toBe(0);
    held[0]!.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    const [answer] = (await once(held[0]!, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 200 /);
  });
});

test.each([
  ['a body of more than 64 KiB', '/v1/products', 'x'.repeat(65 * 1_024), 413],
  ['an order of more than 100 lines', '/v1/orders', lines(101), 400],
  ['JSON that is nested 30,000 times', '/v1/products', '['.repeat(30_000), 400],
  ['JSON that would change every object', '/v1/products', '{"__proto__":{"x":1}}', 400],
])('%s is refused', async (_, url, payload, status) => {
  const { app } = await start();
  const headers = {
    ...(url === '/v1/orders' ? shopper : operator),
    'x-user-id': 'ann',
    'content-type': 'application/json',
  };
  expect((await app.inject({ method: 'POST', url, headers, payload })).statusCode).toBe(status);
});

function lines(count: number): string {
  const items = Array.from({ length: count }, () => ({ productId: 'tea', quantity: 1 }));
  return JSON.stringify({ items, paymentToken: 'tok_approve' });
}

test.each(['/v1/products', '/v1/events', '/v1/dead-letters', '/v1/metrics/products'])(
  'a page of %s has at most 100 items',
  async (url) => {
    const { app } = await start();
    const answer = await app.inject({ url: `${url}?limit=101`, headers: operator });
    expect(answer.statusCode).toBe(400);
  },
);
