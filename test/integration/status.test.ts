/** The verdict on the system, from real servers that are stopped and started. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import { countedAtMost, countsStatement } from '../../operations/status/counts';
import type { statusSchema } from '../../api/status/schemas';
import { runOpsHere } from '../../testkit/run-ops';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

type Status = z.output<typeof statusSchema>;

let stack: Stack;

beforeAll(async () => {
  // An audit a second: nothing is ok before one has ended.
  stack = await createStack(['worker:commerce', 'bridge', 'worker:collector'], {
    AUDIT_INTERVAL_MS: '1000',
    BRIDGE_MAX_IN_FLIGHT: '7',
  });
  await stack.start('api');
}, 120_000);

afterAll(() => stack?.stop());

async function readStatus(): Promise<Status> {
  return (await stack.call('GET', '/v1/status')).body as Status;
}

/** Waits for a verdict. @returns the state, and after how many ms it was told */
async function untilVerdict(verdict: Status['verdict'], timeoutMs = 30_000) {
  const from = performance.now();
  const status = await until(
    `the verdict is ${verdict}`,
    async () => {
      const read = await readStatus();
      // Shown by the failure.
      if (read.verdict !== verdict) throw new Error(JSON.stringify(read));
      return read;
    },
    { timeoutMs },
  );
  return { status, tookMs: performance.now() - from };
}

async function registerProduct(): Promise<string> {
  const body = { name: 'a lamp', price: 900, stock: 100 };
  return (await stack.call('POST', '/v1/products', { body })).body.productId as string;
}

function order(productId: string) {
  return stack.call('POST', '/v1/orders', {
    as: 'shopper',
    userId: 'ann',
    idempotencyKey: randomUUID(),
    body: { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' },
  });
}

test('it is ok once everything was measured, an audit included, and has the figures', async () => {
  const { status } = await untilVerdict('ok', 60_000);
  expect(status).toMatchObject({
    problems: [],
    unmeasured: [],
    outbox: { count: 0, more: false, oldestAt: null },
    lag: { total: 0 },
    bridges: [{ mode: 'per-event', slots: 7, pausedBy: [] }],
    processes: [
      { name: 'worker:commerce', running: 1 },
      { name: 'worker:collector', running: 1 },
      { name: 'bridge', running: 1 },
    ],
    audit: { failure: null, findings: {} },
  });
}, 90_000);

test('the command line tells the same, with an exit code', async () => {
  const { status } = await untilVerdict('ok');
  const asJson = await runOpsHere(stack, 'status', '--json');
  const told = JSON.parse(asJson.stdout) as Status;

  expect(asJson).toMatchObject({ exitCode: 0, stderr: '' });
  expect(Object.keys(told)).toEqual(Object.keys(status));
  expect(told).toMatchObject({
    verdict: 'ok',
    servers: status.servers,
    processes: status.processes,
    bridges: [{ slots: 7 }],
  });
  const { exitCode, stdout } = await runOpsHere(stack, 'status');
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^OK\n/);
  expect(stdout).toMatch(/processes +worker:commerce 1, worker:collector 1, bridge 1\n/);
}, 60_000);

test('Kafka stopped is told within some seconds, with what waits; back, all is ok', async () => {
  const productId = await registerProduct();
  await untilVerdict('ok');
  const stoppedAt = Date.now();
  await stack.cluster.stop('kafka');
  try {
    const { status, tookMs } = await untilVerdict('degraded');
    expect(tookMs).toBeLessThan(15_000);
    const since = Date.parse(status.problems[0]!.since);
    expect(Math.abs(since - stoppedAt)).toBeLessThan(15_000);

    expect((await order(productId)).status).toBe(201);
    const problem = await until('its events are told to wait', async () => {
      // A broker that shuts down first leaves its partitions, which is told as well.
      const found = (await readStatus()).problems.find(({ code }) => code === 'KAFKA_UNAVAILABLE');
      return found?.detail.includes('no event') === false ? found : undefined;
    });
    expect(problem).toMatchObject({
      code: 'KAFKA_UNAVAILABLE',
      detail: expect.stringMatching(/^orders are taken; \d events? waits?, the oldest \d+ s$/),
      sentence: expect.stringMatching(/^Kafka unavailable since \d\d:\d\d UTC: orders are taken; /),
      runbook: 'docs/runbook.md#outboxnotpublished',
    });
    const { lag, unmeasured } = await readStatus();
    expect(lag).toBeNull();
    expect(unmeasured).toContainEqual({ what: 'consumer lag', reason: 'Kafka is unavailable' });
  } finally {
    await stack.cluster.start('kafka');
  }
  await untilVerdict('ok', 60_000);
}, 150_000);

test('a server that hangs delays the answer by its bound and no more', async () => {
  const temporal = (await stack.cluster.status()).find(({ name }) => name === 'temporal');
  process.kill(temporal!.pid!, 'SIGSTOP');
  try {
    // Longer than an answer is good for.
    await sleep(1_100);
    const from = performance.now();
    const status = await readStatus();
    expect(performance.now() - from).toBeLessThan(5_000);
    expect(status.verdict).toBe('unavailable');
    expect(status.problems[0]).toMatchObject({ code: 'TEMPORAL_UNAVAILABLE' });
  } finally {
    process.kill(temporal!.pid!, 'SIGCONT');
  }
  await untilVerdict('ok', 60_000);
}, 120_000);

test('a bridge that ends is missing at once, and told', async () => {
  const [bridge] = stack.running('bridge');
  await bridge!.end();
  const { status } = await untilVerdict('degraded');
  expect(status.problems).toMatchObject([{ code: 'NO_BRIDGE', title: 'No bridge is running' }]);
  expect(status.bridges).toEqual([]);
  await stack.start('bridge');
  await untilVerdict('ok', 60_000);
}, 120_000);

test('of a backlog of 100,000 events only its beginning is read', async () => {
  const connection = await stack.pool.connect();
  try {
    await connection.query('BEGIN');
    await connection.query(`
      INSERT INTO commerce.outbox (event_id, topic, key, type, payload)
      SELECT 'backlog-' || n, 'catalog-events', 'product-' || n % 1000, 'ProductViewed', '{}'
      FROM generate_series(1, 100000) AS n`);
    await connection.query('ANALYZE commerce.outbox');
    const { rows } = await connection.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ${countsStatement
        .replaceAll('$1', '10')
        .replaceAll('$2', String(countedAtMost))}`,
    );
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan).toMatch(/Index Scan using outbox_waiting on outbox \(actual rows=10001/);
  } finally {
    await connection.query('ROLLBACK');
    connection.release();
  }
}, 60_000);
