/**
 * APIs behind a load balancer that passes connections on and probes `/readyz` each second: one that is
 * told to stop costs no request, and a server that hangs takes none of them out.
 */
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { reportsReady } from '../../platform/dependencies/readiness';
import { startRedisServer } from '../../testkit/redis-servers';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { startSwitchableProxy } from '../../testkit/switchable-proxy';
import { until } from '../../testkit/until';

/** What load balancers and kubelets wait for by default, in ms. */
const probeTimeoutMs = 1_000;
const probeEveryMs = 1_000;
const drainMs = 3_000;
const newConnectionEveryMs = 10;
const keptConnectionEveryMs = 50;
let stack: Stack;

beforeAll(async () => {
  stack = await createStack([]);
  await stack.pool.query(
    `INSERT INTO commerce.products (product_id, name, price, stock, stock_version)
     VALUES ('lamp', 'Lamp', 100, 5, 1)`,
  );
});

afterAll(() => stack?.stop());

/** A load balancer that is listening. */
interface Balancer {
  readonly url: string;
  /** How many connections it has passed on to this API. */
  countOf(api: RunningProcess): number;
  stop(): Promise<void>;
}

/** Passes connections on to each API in turn, as long as its last probe said that it is ready. */
async function startBalancer(apis: readonly RunningProcess[]): Promise<Balancer> {
  const counts = new Map(apis.map((api) => [api, 0]));
  const open = new Set<Socket>();
  let ready = apis;
  const probe = async (): Promise<void> => {
    const answers = await Promise.all(apis.map(({ url }) => reportsReady(url)));
    ready = apis.filter((_, index) => answers[index]);
  };
  const probing = setInterval(() => void probe(), probeEveryMs);
  let turn = 0;
  const listener = createServer((client) => {
    const api = ready[(turn += 1) % ready.length];
    if (api === undefined) return client.destroy();
    counts.set(api, counts.get(api)! + 1);
    const server = connect(Number(new URL(api.url).port), '127.0.0.1');
    open.add(client).add(server);
    // An error ends both sides, and the client tells it.
    pipeline(client, server, client, () => [client, server].forEach((each) => open.delete(each)));
    return undefined;
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    countOf: (api) => counts.get(api)!,
    async stop() {
      clearInterval(probing);
      const closed = once(listener, 'close');
      listener.close();
      open.forEach((socket) => socket.destroy());
      await closed;
    },
  };
}

/** Reads of a product, on new connections and on kept ones. */
interface Load {
  /** How many were answered with 200. */
  countAnswered(): number;
  /** Ends it. @returns each other status and each connection's error */
  stop(): Promise<(number | string)[]>;
}

function startLoad(url: string): Load {
  // One after the other, so that none is idle for long.
  const kept = new Agent({ keepAlive: true, maxSockets: 10, scheduling: 'fifo' });
  const statuses: (number | string)[] = [];
  const open = new Set<Promise<unknown>>();
  const read = (agent: Agent | false): void => {
    const reading = statusOf(url, agent)
      .catch((error: NodeJS.ErrnoException) => error.code ?? error.message)
      .then((status) => statuses.push(status))
      .finally(() => open.delete(reading));
    open.add(reading);
  };
  const timers = [
    setInterval(() => read(false), newConnectionEveryMs),
    setInterval(() => read(kept), keptConnectionEveryMs),
  ];
  return {
    countAnswered: () => statuses.filter((status) => status === 200).length,
    async stop() {
      timers.forEach((timer) => clearInterval(timer));
      await Promise.all(open);
      kept.destroy();
      return statuses.filter((status) => status !== 200);
    },
  };
}

function statusOf(url: string, agent: Agent | false): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: 'Bearer dev-shopper-key' };
    get(`${url}/v1/products/lamp`, { agent, headers }, (answer) => {
      answer.on('end', () => resolve(answer.statusCode!)).resume();
    }).on('error', reject);
  });
}

async function readReadiness({ url }: RunningProcess) {
  const answer = await fetch(`${url}/readyz`);
  return { code: answer.status, ...((await answer.json()) as { readonly status: string }) };
}

test('an API that is told to stop costs no request: it goes on answering until the balancer has noticed', async () => {
  const environment = { DRAIN_MS: String(drainMs) };
  const apis = await Promise.all([
    stack.start('api', environment),
    stack.start('api', environment),
  ] as const);
  const [first, second] = apis;
  const balancer = await startBalancer(apis);
  const load = startLoad(balancer.url);
  try {
    await until('both have work', () => apis.every((api) => balancer.countOf(api) > 50));
    const ended = first.end();

    await until('it says so', async () => (await readReadiness(first)).status === 'stopping');
    expect(await readReadiness(first)).toMatchObject({ code: 503, status: 'stopping' });
    expect(await statusOf(first.url, false)).toBe(200);
    expect(await ended).toBe(0);
    const before = balancer.countOf(second);
    await until('the other one has its work', () => balancer.countOf(second) > before + 100);
  } finally {
    const failures = await load.stop();
    await balancer.stop();
    expect(failures).toEqual([]);
  }
  expect(load.countAnswered()).toBeGreaterThan(300);
}, 60_000);

test('while Redis takes commands and answers none, an API is ready within what a probe waits for', async () => {
  const redis = await startRedisServer();
  const proxy = await startSwitchableProxy(redis.port);
  try {
    const api = await stack.start('api', { REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    proxy.takesOnlySilently(true);
    proxy.silence();

    const from = performance.now();
    const readiness = await readReadiness(api);
    expect(performance.now() - from).toBeLessThan(probeTimeoutMs);
    expect(readiness).toMatchObject({
      code: 200,
      status: 'degraded',
      dependencies: {
        redis: { status: 'down', reason: expect.stringMatching('no answer within') },
      },
    });
  } finally {
    await proxy.stop();
    await redis.stop();
  }
}, 60_000);
