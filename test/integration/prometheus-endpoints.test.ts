/** What each process serves while the pipeline works: every metric that it counts, and its readiness. */
import { defaultSlots } from '../../bridge/bridge';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import {
  countedBy,
  metricsRegistry,
  type ProcessKind,
} from '../../platform/observability/telemetry';
import { alertQueries, dashboardQueries } from '../../testkit/observability-files';
import { readSelectors, type Selector } from '../../testkit/promql';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

jest.setTimeout(120_000);
const kinds: ProcessKind[] = ['api', 'worker:commerce', 'worker:collector', 'bridge'];
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(kinds, {
    AUDIT_INTERVAL_MS: '1000',
    // Nobody is there, and nothing is to be told.
    WEBHOOK_SOLD_OUT_URL: 'http://127.0.0.1:1',
  });
});

afterAll(() => stack.stop());

/** Where a process answers. */
function urlOf(kind: ProcessKind): string {
  return stack.running(kind)[0]!.url;
}

async function scrape(kind: ProcessKind): Promise<string> {
  const response = await fetch(`${urlOf(kind)}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toContain('text/plain');
  return response.text();
}

/** The names of metrics that have a value in a scrape. */
function sampled(scraped: string): Set<string> {
  const names = scraped
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.replace(/[{ ].*/, ''));
  return new Set(names.flatMap((name) => [name, name.replace(/_(bucket|sum|count)$/, '')]));
}

async function order(productId: string, quantity: number, paymentToken: string) {
  const idempotencyKey = randomUUID();
  const options = {
    as: 'shopper',
    userId: 'ann',
    idempotencyKey,
    body: { items: [{ productId, quantity }], paymentToken },
  } as const;
  await stack.call('POST', '/v1/orders', options);
  return stack.call('POST', '/v1/orders', options);
}

/** A bit of everything that is counted. */
async function shop(): Promise<void> {
  const registered = await stack.call('POST', '/v1/products', {
    body: { name: 'a lamp', price: 1_000, stock: 10 },
  });
  const { productId } = registered.body as { productId: string };
  for (let reads = 0; reads < 3; reads += 1) await stack.call('GET', `/v1/products/${productId}`);
  await Promise.all([
    order(productId, 1, 'tok_approve'),
    order(productId, 1, 'tok_decline'),
    order(productId, 50, 'tok_approve'),
    stack.call('PUT', `/v1/products/${productId}/like`, { as: 'shopper', userId: 'ann' }),
  ]);
  const producer = stack.kafka.producer();
  await producer.connect();
  await producer.send({ topic: 'order-events', messages: [{ key: 'x', value: 'no event' }] });
  await producer.disconnect();
}

test.each(kinds)('%s serves every metric that it counts, and none of the others', async (kind) => {
  await shop();
  const declared = metricsRegistry.getMetricsAsArray().map(({ name }) => name);
  const expected = declared.filter((name) => countedBy[name]?.includes(kind) ?? true);

  await until('all of them have a value', async () => {
    const present = sampled(await scrape(kind));
    return expected.every((name) => present.has(name)) || missing(expected, present);
  });

  const names = sampled(await scrape(kind));
  expect(declared.filter((name) => names.has(name))).toEqual(expected);
  expect(names).toContain('nodejs_eventloop_lag_seconds');
  expect(names).toContain('process_cpu_seconds_total');
});

function missing(expected: readonly string[], present: ReadonlySet<string>): never {
  throw new Error(`missing: ${expected.filter((name) => !present.has(name)).join(', ')}`);
}

test("workers serve the metrics of Temporal's SDK too, in seconds", async () => {
  for (const kind of ['worker:commerce', 'worker:collector'] as const) {
    const names = sampled(await scrape(kind));
    expect(names).toContain('temporal_workflow_task_execution_latency_seconds');
    expect(names).toContain('temporal_workflow_completed_total');
  }
});

test('what is counted is what has happened', async () => {
  const sum = async (kind: ProcessKind, start: string): Promise<number> =>
    (await scrape(kind))
      .split('\n')
      .filter((line) => line.startsWith(start))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0);
  const count = async (statement: string): Promise<number> =>
    (await stack.pool.query<{ count: number }>(statement)).rows[0]!.count;

  await until('the events are published and handled', async () => {
    const [published, handled] = await Promise.all([
      count('SELECT count(*) FROM commerce.outbox WHERE published_at IS NOT NULL'),
      count('SELECT count(*) FROM collector.event_handled'),
    ]);
    expect(await sum('worker:commerce', 'commerce_events_published_total')).toBe(published);
    expect(await sum('worker:collector', 'commerce_events_handled_total')).toBe(handled);
    expect(handled).toBe(published + (await sum('api', 'commerce_events_published_total')));
    return true;
  });
  const confirmed = await count(`SELECT count(*) FROM commerce.orders WHERE status = 'CONFIRMED'`);
  const decided = 'commerce_orders_decided_total{outcome="confirmed"}';
  expect(await sum('worker:commerce', decided)).toBe(confirmed);
  expect(await sum('api', 'commerce_idempotency_keys_total{outcome="replayed"}')).toBe(12);
  await until('each poison message is parked, and counted', async () => {
    const parked = await sum('worker:collector', 'commerce_dead_letters_parked_total');
    return parked === 4 && (await count('SELECT count(*) FROM collector.dead_letters')) === 4;
  });
});

test('routes are counted by their pattern', async () => {
  const scraped = await scrape('api');
  expect(scraped).toContain('route="/v1/products/:productId",status="200"');
  expect(scraped).not.toMatch(/route="[^"]*[0-9a-f]{8}-/);
});

test.each(kinds)('%s is alive, and ready with each dependency named', async (kind) => {
  const alive = await fetch(`${urlOf(kind)}/healthz`);
  expect(await alive.json()).toEqual({ status: 'ok' });
  await until('it is ready', async () => (await fetch(`${urlOf(kind)}/readyz`)).status === 200);
  const ready = (await (await fetch(`${urlOf(kind)}/readyz`)).json()) as {
    dependencies: Record<string, { status: string }>;
    bridge?: object;
  };
  expect(ready.dependencies).toMatchObject({
    postgres: { status: 'up' },
    temporal: { status: 'up' },
    kafka: { status: 'up' },
  });
  if (kind !== 'bridge') return;
  expect(ready.bridge).toEqual({
    pausedBy: [],
    lag: expect.any(Number),
    heldBack: [],
    inFlight: expect.any(Number),
    slots: defaultSlots('per-event'),
  });
});

const nowhere = '127.0.0.1:1';

test.each([
  { name: 'bridge', part: 'consumer', without: { KAFKA_BROKERS: nowhere } },
  { name: 'worker:commerce', part: 'worker', without: { TEMPORAL_ADDRESS: nowhere } },
  { name: 'worker:collector', part: 'worker', without: { TEMPORAL_ADDRESS: nowhere } },
] as const)('$name is not ready before it does its work', async ({ name, part, without }) => {
  const started = await stack.launch(name, without);
  const answer = await until('it answers', () => fetch(`${started.url}/readyz`));
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ dependencies: { [part]: { status: 'down' } } });
  await started.end('SIGKILL');
});

test('a process that ends before it is ready fails its start with what it has written', async () => {
  const starting = stack.start('bridge', { BRIDGE_MODE: 'sideways' });
  await expect(starting).rejects.toThrow(/^bridge has ended with 1\.[^]*BRIDGE_MODE/);
});

test('a second process on the same port ends with the name of the variable', async () => {
  const port = new URL(urlOf('bridge')).port;
  const second = spawn(process.execPath, ['--require', './typescript.cjs', 'bridge/main.ts'], {
    cwd: path.join(__dirname, '..', '..'),
    env: { ...process.env, ...stack.environment, METRICS_PORT: port, LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output, [exitCode]] = await Promise.all([text(second.stdout), once(second, 'close')]);
  expect(exitCode).toBe(1);
  expect(output).toContain(`METRICS_PORT: port ${port} on 127.0.0.1 is in use`);
});

/** What Prometheus itself adds. */
const addedByPrometheus = { metrics: ['up'], labels: ['job', 'instance'] };

test('whatever the dashboard and the alerts ask for is in a scrape under load', async () => {
  await shop();
  await shopInTrouble();
  const asked = [...dashboardQueries(), ...alertQueries()].flatMap(({ where, expression }) =>
    readSelectors(expression).map((selector) => ({ where, selector })),
  );

  await until('all of it is there', async () => {
    const samples = samplesByMetric((await Promise.all(kinds.map(scrape))).join('\n'));
    const answered = ({ metric, matchers, groupedBy }: Selector): boolean =>
      addedByPrometheus.metrics.includes(metric) ||
      (samples.get(metric) ?? []).some(
        (labels) =>
          groupedBy.every((label) => labels.has(label) || isAdded(label)) &&
          matchers.every(
            ({ label, operator, value }) =>
              isAdded(label) ||
              (operator === '=' ? labels.get(label) === value : labels.has(label)),
          ),
      );
    const unanswered = asked.filter(({ selector }) => !answered(selector));
    expect(unanswered.map(({ where, selector }) => ({ where, ...selector }))).toEqual([]);
    return true;
  });
});

function isAdded(label: string): boolean {
  return addedByPrometheus.labels.includes(label);
}

/** A payment that is retried, and an order that is undecided when the response is due. */
async function shopInTrouble(): Promise<void> {
  const registered = await stack.call('POST', '/v1/products', {
    body: { name: 'a vase', price: 2_000, stock: 10 },
  });
  const { productId } = registered.body as { productId: string };
  const place = (paymentToken: string) =>
    stack.call('POST', '/v1/orders', {
      as: 'shopper',
      userId: 'bob',
      body: { items: [{ productId, quantity: 1 }], paymentToken },
      timeoutMs: 30_000,
    });
  expect((await place('tok_flaky')).status).toBe(201);
  const [worker] = stack.running('worker:commerce');
  worker!.signal('SIGSTOP');
  try {
    expect((await place('tok_approve')).status).toBe(202);
  } finally {
    worker!.signal('SIGCONT');
  }
}

/** The labels of each sample, by metric. A line without its value is a selector of PromQL. */
function samplesByMetric(scraped: string): ReadonlyMap<string, ReadonlyMap<string, string>[]> {
  const samples = new Map<string, ReadonlyMap<string, string>[]>();
  for (const line of scraped.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [sample] = readSelectors(line.slice(0, line.lastIndexOf(' ')));
    const labels = new Map(sample!.matchers.map(({ label, value }) => [label, value]));
    samples.set(sample!.metric, [...(samples.get(sample!.metric) ?? []), labels]);
  }
  return samples;
}
