/**
 * Every view that was answered is logged, once: across kills of the API, with Kafka away, and after a
 * stop of the API that finds Kafka away.
 *
 * `VIEWS_IN_FULL=true` takes 5,000 views at 1,000 a second and leaves Kafka away for a minute.
 */
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { findFreePorts } from '../../cluster/local-cluster';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const { viewCount, perSecond, awayMs } =
  process.env['VIEWS_IN_FULL'] === 'true'
    ? { viewCount: 5_000, perSecond: 1_000, awayMs: 60_000 }
    : { viewCount: 900, perSecond: 300, awayMs: 5_000 };

const tickMs = 20;
const mostUnderWay = 200;

let stack: Stack;
let productId: string;
let port: string;

beforeAll(async () => {
  stack = await createStack(['worker:commerce', 'worker:collector', 'bridge'], {
    BRIDGE_MODE: 'coalesce',
  });
  port = String((await findFreePorts()).kafka);
  await startApi();
  const body = { name: 'a lamp', price: 100, stock: 5 };
  productId = (await stack.call('POST', '/v1/products', { body })).body.productId;
});

afterAll(() => stack.stop());

function startApi(): Promise<RunningProcess> {
  return stack.start('api', { API_PORT: port, LOG_LEVEL: 'warn' });
}

/** Looks at the product as somebody whom nobody else is. @returns whether there was an answer */
async function view(viewer: string): Promise<boolean> {
  const options = { as: 'shopper', userId: viewer, timeoutMs: 15_000 } as const;
  const answer = await stack
    .call('GET', `/v1/products/${productId}`, options)
    .catch(() => undefined);
  return answer?.status === 200;
}

/** Looks at a steady rate, whatever becomes of it, until so many views more are answered. */
async function viewSteadily(count: number, answered: Set<string>): Promise<void> {
  const goal = answered.size + count;
  const underWay = new Set<Promise<void>>();
  for (let due = performance.now(); answered.size < goal; due += tickMs) {
    for (let each = 0; each < (perSecond * tickMs) / 1_000; each += 1) {
      const isEnough = answered.size + underWay.size >= goal;
      if (isEnough || underWay.size >= mostUnderWay) break;
      const viewer = randomUUID();
      const looking = view(viewer)
        .then((isAnswered) => void (isAnswered && answered.add(viewer)))
        .finally(() => underWay.delete(looking));
      underWay.add(looking);
    }
    await sleep(Math.max(0, due + tickMs - performance.now()));
  }
  await Promise.all(underWay);
}

/** Kills the API without notice once so many views more are answered, and starts it again. */
async function killAfter(count: number, answered: Set<string>): Promise<void> {
  const goal = answered.size + count;
  await until('so many views are answered', () => answered.size >= goal, { pollMs: 1 });
  for (const api of stack.running('api')) await api.end('SIGKILL');
  await startApi();
}

/**
 * How often the views of each viewer are logged. A view that is sent again keeps its ID, and the log's
 * primary key takes an ID once: more than one row would mean that it was sent again under another ID.
 */
async function timesLogged(): Promise<Map<string, number>> {
  const { rows } = await stack.pool.query<{ viewer: string; times: number }>(
    `SELECT payload -> 'data' ->> 'userId' AS viewer, count(*)::int AS times
      FROM collector.event_log WHERE type = 'ProductViewed' GROUP BY 1`,
  );
  return new Map(rows.map(({ viewer, times }) => [viewer, times]));
}

async function untilLogged(answered: ReadonlySet<string>): Promise<Map<string, number>> {
  const missing = async (): Promise<number> => {
    const logged = await timesLogged();
    return [...answered].filter((viewer) => !logged.has(viewer)).length;
  };
  await until('every answered view is logged', async () => (await missing()) === 0, {
    timeoutMs: 120_000,
    pollMs: 500,
  });
  return timesLogged();
}

async function mostInSecond(): Promise<number> {
  const { rows } = await stack.pool.query<{ most: number }>(
    `SELECT max(views)::int AS most FROM (SELECT count(*) AS views FROM collector.event_log
      WHERE type = 'ProductViewed' GROUP BY date_trunc('second', occurred_at)) AS seconds`,
  );
  return rows[0]!.most;
}

async function untilSpoolIsEmpty(): Promise<void> {
  await until(
    'nothing is left in the spool',
    async () => (await readdir(stack.config.VIEW_SPOOL_DIR)).length === 0,
  );
}

test('every answered view is logged once, over three kills of the API and an outage of Kafka', async () => {
  const answered = new Set<string>();
  const third = Math.ceil(viewCount / 3);
  await Promise.all([viewSteadily(third, answered), killAfter(third / 2, answered)]);
  await stack.cluster.stop('kafka');
  const awayUntil = Date.now() + awayMs;
  await Promise.all([viewSteadily(third, answered), killAfter(third / 2, answered)]);
  await sleep(Math.max(0, awayUntil - Date.now()));
  await stack.cluster.start('kafka');
  await Promise.all([viewSteadily(third, answered), killAfter(third / 2, answered)]);

  const logged = await untilLogged(answered);
  await untilSpoolIsEmpty();
  expect(answered.size).toBeGreaterThanOrEqual(viewCount);
  expect([...logged].filter(([, times]) => times !== 1)).toEqual([]);
  const metrics = async (): Promise<number> => {
    const { rows } = await stack.pool.query<{ view_count: number }>(
      'SELECT view_count::int FROM collector.product_metrics WHERE product_id = $1',
      [productId],
    );
    return rows[0]!.view_count;
  };
  await until('each is counted', async () => (await metrics()) === (await timesLogged()).size);
  console.log(`${answered.size} views answered, up to ${await mostInSecond()} in a second`);
}, 400_000);

test('an API that stops while Kafka is away hands its views over, and leaves nothing on its disk', async () => {
  const answered = new Set<string>();
  await stack.cluster.stop('kafka');
  try {
    await viewSteadily(30, answered);
    for (const api of stack.running('api')) expect(await api.end('SIGTERM')).toBe(0);
    expect(await readdir(stack.config.VIEW_SPOOL_DIR)).toEqual([]);
  } finally {
    await stack.cluster.start('kafka');
  }
  const logged = await untilLogged(answered);
  expect([...logged].filter(([, times]) => times !== 1)).toEqual([]);
}, 200_000);
