/**
 * PostgreSQL becomes read-only, and fails over to its standby, while requests go on at a steady rate:
 * they are refused with 503 meanwhile, and answered again within seconds, by processes that were never
 * started anew.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPool, probeWritable } from '../../platform/postgres/pool';
import { createLogger } from '../../platform/observability/logger';
import { reportsReady } from '../../platform/dependencies/readiness';
import { messageOf, produce, stockAdjusted } from '../../testkit/foreign-producer';
import { startPostgresPair, type PostgresPair } from '../../testkit/postgres-pair';
import { makeReadOnly, makeWritable } from '../../testkit/read-only-database';
import { runOps } from '../../testkit/run-ops';
import { createStack, type ApiAnswer, type ProcessName, type Stack } from '../../testkit/stack';
import { startSwitchableProxy } from '../../testkit/switchable-proxy';
import { until } from '../../testkit/until';

const processNames: ProcessName[] = ['api', 'bridge', 'worker:commerce', 'worker:collector'];
// Longer, and at the rate of a shop that has the machine for itself:
// READ_ONLY_SECONDS=20 REQUESTS_PER_SECOND=20 npm test -- integration/postgres-failover -t 'is read-only'
// Where other test files share two processors, that rate would be an overload of its own.
const requestsPerSecond = Number(process.env['REQUESTS_PER_SECOND'] ?? 8);
const readOnlySeconds = Number(process.env['READ_ONLY_SECONDS'] ?? 4);
/** How soon everything works again, in ms. */
const recoveryMs = 5_000;

let pair: PostgresPair;
let stack: Stack;
/** What the processes have: both hosts, and the one of them that takes writes. */
let url: string;
let likedProduct: string;

beforeAll(async () => {
  pair = await startPostgresPair();
  stack = await createStack([], { DATABASE_URL: pair.primaryUrl });
  const own = new URL(stack.config.DATABASE_URL);
  url = `postgres://commerce:commerce@${pair.hosts.join()}${own.pathname}?target_session_attrs=read-write`;
  stack.later['DATABASE_URL'] = url;
  await Promise.all(processNames.map((name) => stack.start(name)));
  const body = { name: 'liked', price: 100, stock: 5 };
  const product = await stack.call('POST', '/v1/products', { body, idempotencyKey: randomUUID() });
  ({ productId: likedProduct } = product.body as { productId: string });
}, 180_000);

afterAll(async () => {
  await stack?.stop();
  await pair?.stop();
});

interface Answered {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly sentAt: number;
  readonly answeredAt: number;
  readonly method: string;
  readonly code: string | undefined;
}

/** Sends changes and reads at a steady rate, whatever becomes of them, while `work` goes on. */
async function underLoad(work: () => Promise<void>): Promise<Answered[]> {
  const answers: Promise<Answered>[] = [];
  const isOver = { now: false };
  const sending = (async () => {
    for (let turn = 0; !isOver.now; turn += 1) {
      answers.push(send(turn));
      await sleep(1_000 / requestsPerSecond);
    }
  })();
  try {
    await work();
  } finally {
    isOver.now = true;
    await sending;
  }
  return Promise.all(answers);
}

async function send(turn: number): Promise<Answered> {
  const sentAt = Date.now();
  const { status, headers, body, method } = await sendOneOf(turn % 4);
  const { code } = (body ?? {}) as { code?: string };
  const retryAfter = headers.get('retry-after');
  return { status, retryAfter, sentAt, answeredAt: Date.now(), method, code };
}

async function sendOneOf(kind: number): Promise<ApiAnswer & { method: string }> {
  const shopper = { as: 'shopper', userId: `user-${randomUUID().slice(0, 8)}` } as const;
  const body = { name: 'registered', price: 100, stock: 5 };
  const withKey = { body, idempotencyKey: randomUUID() };
  const [method, route, options] = (
    [
      ['POST', '/v1/products', withKey],
      ['POST', '/v1/products', withKey],
      ['PUT', `/v1/products/${likedProduct}/like`, shopper],
      ['GET', '/v1/products', {}],
    ] as const
  )[kind]!;
  return { method, ...(await stack.call(method, route, options)) };
}

function registered({ method, status }: Answered): boolean {
  return method === 'POST' && status === 201;
}

function liked({ method, status }: Answered): boolean {
  return method === 'PUT' && status === 200;
}

/** Every answer is one that a client knows what to do with. */
function expectNoFailure(answers: readonly Answered[]): void {
  const unexpected = answers.filter(
    ({ status, retryAfter }) => status >= 500 && (status !== 503 || retryAfter === null),
  );
  expect(unexpected).toEqual([]);
  expect(answers.filter(({ status }) => status === 503)).not.toEqual([]);
}

/**
 * Within the bound changes succeed again, and after it nothing is refused. What was begun with the old
 * server may be decided later: a workflow waits for its next attempt.
 */
function expectRecovery(answers: readonly Answered[], healedAt: number): void {
  for (const isChange of [registered, liked]) {
    const first = answers.filter((each) => each.answeredAt > healedAt && isChange(each));
    const tookMs = Math.min(...first.map(({ answeredAt }) => answeredAt)) - healedAt;
    expect(tookMs).toBeLessThan(recoveryMs);
  }
  const later = answers.filter(({ sentAt }) => sentAt > healedAt + recoveryMs);
  expect(later.length).toBeGreaterThan(20);
  expect(later.filter(({ status, code }) => status >= 500 && code !== 'UNDECIDED')).toEqual([]);
  const undecided = later.filter(({ code }) => code === 'UNDECIDED');
  expect(undecided.length).toBeLessThan(later.length / 10);
}

test('while PostgreSQL is read-only, changes are 503 and nothing is ready; then all of it is back in seconds', async () => {
  const urls = processNames.map((name) => stack.running(name)[0]!.url);
  let healedAt = 0;
  const answers = await underLoad(async () => {
    await sleep(1_000);
    await makeReadOnly(stack);
    for (const each of urls) {
      await until('it is not ready', async () => !(await reportsReady(each)));
    }
    await sleep(readOnlySeconds * 1_000);
    await makeWritable(stack);
    healedAt = Date.now();
    for (const each of urls) await until('it is ready', () => reportsReady(each));
    expect(Date.now() - healedAt).toBeLessThan(recoveryMs);
    await sleep(recoveryMs + 4_000);
  });
  expectNoFailure(answers);
  expectRecovery(answers, healedAt);
}, 120_000);

test('after a failover the standby is used, nothing acknowledged is lost, and events are handled', async () => {
  let healedAt = 0;
  const answers = await underLoad(async () => {
    await sleep(1_000);
    await pair.failOver();
    healedAt = Date.now();
    await sleep(recoveryMs + 4_000);
  });
  expectNoFailure(answers);
  expectRecovery(answers, healedAt);

  const pool = createPool(url, createLogger('test', 'fatal'), { applicationName: 'test' });
  try {
    const { rows } = await pool.query<{ registered: number }>(
      `SELECT count(*)::int AS registered FROM commerce.products WHERE name = 'registered'`,
    );
    expect(rows[0]!.registered).toBeGreaterThanOrEqual(answers.filter(registered).length);
    const event = stockAdjusted('after-failover', 1, 3, 3);
    await produce(stack.kafka, 'catalog-events', [messageOf(event)]);
    await until('an event is handled', async () => {
      const handled = await pool.query('SELECT FROM collector.event_handled WHERE event_id = $1', [
        event.id,
      ]);
      return handled.rowCount === 1;
    });
  } finally {
    await pool.end();
  }
}, 120_000);

test('a connection that is half-open is found by a readiness probe, and its kin are left with it', async () => {
  const { hostname, port } = new URL(`http://${pair.hosts[1]}`);
  const proxy = await startSwitchableProxy(Number(port));
  const proxied = `postgres://commerce:commerce@${hostname}:${proxy.port}/commerce`;
  const pool = createPool(proxied, createLogger('test', 'fatal'), { applicationName: 'test' });
  try {
    await Promise.all([probeWritable(pool), probeWritable(pool)]);
    expect(pool.idleCount).toBe(2);
    proxy.silence();
    await expect(probeWritable(pool)).rejects.toThrow('Query read timeout');
    await probeWritable(pool);
  } finally {
    await pool.end();
    await proxy.stop();
  }
});

test('then the operator’s commands and a start find the standby, too', async () => {
  const environment = { ...stack.environment, DATABASE_URL: url };
  const { exitCode, stderr } = await runOps({ environment }, 'events', 'list');
  expect([exitCode, stderr]).toEqual([0, '']);
  await stack.start('api');
});
