/**
 * Nothing stands still unseen, and what vanishes from Kafka unread arrives another way: on real
 * servers, with a consumer that hangs and topics whose messages are taken away.
 */
import type { Admin } from 'kafkajs';
import { evaluateComparison, readSelectors, type Sample } from '../../testkit/promql';
import { readAlerts } from '../../testkit/observability-files';
import { migrateTopics } from '../../migrations/migrate';
import { eventTopics } from '../../events/topics';
import { createLogger } from '../../platform/observability/logger';
import { altered } from '../faults/altered';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { runOpsHere } from '../../testkit/run-ops';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce', 'worker:collector'], {
    AUDIT_INTERVAL_MS: '2000',
    AUDIT_UNCONFIRMED_AFTER_MS: '1000',
  });
});

afterAll(() => stack?.stop());

afterEach(async () => {
  await Promise.all(stack.running('bridge').map((bridge) => bridge.end()));
});

async function count(from: string): Promise<number> {
  const { rows } = await stack.pool.query<{ count: number }>(`SELECT count(*) FROM ${from}`);
  return rows[0]!.count;
}

interface Readyz {
  readonly status: number;
  readonly dependencies: Record<string, { status: string; reason?: string }>;
  readonly bridge: { readonly heldBack: readonly string[] };
}

async function readyz(bridge: RunningProcess): Promise<Readyz> {
  const response = await fetch(`${bridge.url}/readyz`);
  return { ...((await response.json()) as Readyz), status: response.status };
}

async function scrape(bridge: RunningProcess): Promise<ReadonlyMap<string, readonly Sample[]>> {
  const text = await (await fetch(`${bridge.url}/metrics`)).text();
  const samples = new Map<string, Sample[]>();
  for (const line of text.split('\n')) {
    if (!line.startsWith('commerce_consumer')) continue;
    const value = Number(line.slice(line.lastIndexOf(' ')));
    const [selector] = readSelectors(line.slice(0, line.lastIndexOf(' ')));
    const labels = new Map(selector!.matchers.map((each) => [each.label, each.value]));
    const { metric } = selector!;
    samples.set(metric, [...(samples.get(metric) ?? []), { labels, value }]);
  }
  return samples;
}

interface DifferingCheck {
  readonly name: string;
  readonly differences: Record<string, unknown>[];
}

async function verify(grace: number): Promise<{ exitCode: number; differing: DifferingCheck[] }> {
  const { exitCode, stdout } = await runOpsHere(stack, 'verify', '--grace', `${grace}`, '--json');
  const { checks } = JSON.parse(stdout) as { checks: (DifferingCheck & { holds: boolean })[] };
  return { exitCode, differing: checks.filter(({ holds }) => !holds) };
}

async function untilAtRest(): Promise<void> {
  const problem = { timeoutMs: 90_000, pollMs: 500 };
  await until('nothing differs', async () => (await verify(0)).exitCode === 0, problem);
}

test('a consumer that hangs is seen within a minute by readiness, by the alert and by verify', async () => {
  const hung = await stack.start('bridge', altered('hung-consumer'));
  await until('it is ready at first', async () => (await readyz(hung)).status === 200);
  const since = Date.now();
  await produce(stack.kafka, 'catalog-events', [messageOf(viewed('a-lamp'))]);

  const withinAMinute = { timeoutMs: 60_000, pollMs: 250 };
  const { dependencies } = await until(
    'it is not ready',
    async () => {
      const state = await readyz(hung);
      return state.status === 503 ? state : undefined;
    },
    withinAMinute,
  );
  expect(dependencies['progress']).toMatchObject({
    status: 'down',
    reason: expect.stringMatching(/^nothing committed in catalog-events\/\d+ for \d+ s/),
  });
  const { expr } = readAlerts().find(({ alert }) => alert === 'ConsumerStalled')!;
  expect(evaluateComparison(expr, await scrape(hung))).toHaveLength(1);
  expect(Date.now() - since).toBeLessThan(60_000);

  const seen = await verify(20);
  expect(seen.exitCode).toBe(1);
  expect(seen.differing).toEqual([
    expect.objectContaining({
      name: 'consumer-progress',
      differences: [expect.objectContaining({ topic: 'catalog-events', lag: 1 })],
    }),
  ]);

  await hung.end('SIGKILL');
  const healthy = await stack.start('bridge');
  await untilAtRest();
  await until('it is ready', async () => (await readyz(healthy)).status === 200);
  expect(evaluateComparison(expr, await scrape(healthy))).toEqual([]);
}, 240_000);

async function adjustStock(products: number, adjustmentsEach: number): Promise<void> {
  for (let product = 0; product < products; product += 1) {
    const registered = await stack.call('POST', '/v1/products', {
      body: { name: 'Kettle', price: 1_000, stock: 5 },
    });
    const { productId } = registered.body as { productId: string };
    const route = `/v1/products/${productId}/stock-adjustments`;
    const body = { delta: 1, reason: 'restock' };
    await Promise.all(
      Array.from({ length: adjustmentsEach }, () => stack.call('POST', route, { body })),
    );
  }
  await until('all of it is published', async () => {
    return (await count('commerce.outbox WHERE published_at IS NULL')) === 0;
  });
}

/** The group has read everything, and is gone. */
async function commitOffsets(): Promise<void> {
  await stack.start('bridge');
  await adjustStock(1, 1);
  await untilAtRest();
  await Promise.all(stack.running('bridge').map((bridge) => bridge.end()));
}

async function withAdmin(work: (admin: Admin) => Promise<void>): Promise<void> {
  const admin = stack.kafka.admin();
  await admin.connect();
  try {
    await work(admin);
  } finally {
    await admin.disconnect();
  }
}

const notLogged = `commerce.outbox WHERE NOT EXISTS (
  SELECT FROM collector.event_log WHERE event_log.event_id = outbox.event_id)`;

async function auditedSince(milliseconds: number): Promise<boolean> {
  const seen = `collector.partition_progress WHERE seen_at > to_timestamp(${milliseconds / 1_000})`;
  return (await count(seen)) > 0;
}

async function vanished(): Promise<Record<string, unknown>[]> {
  const { rows } = await stack.pool.query(`
    SELECT topic, partition, first_offset AS first, last_offset AS last, reason
    FROM collector.vanished_offsets ORDER BY id`);
  return rows as Record<string, unknown>[];
}

test('the shop’s events that were deleted before they were read are sent again and arrive', async () => {
  await commitOffsets();
  await adjustStock(1, 5);
  const { rows } = await stack.pool.query<{ partition: number; first: number; last: number }>(`
    SELECT partition, min("offset") AS first, max("offset") AS last
    FROM ${notLogged} GROUP BY partition`);
  const [lost] = rows as [(typeof rows)[0]];
  await withAdmin(async (admin) => {
    // kafkajs deletes only where it has asked before who leads.
    await admin.fetchTopicOffsets('catalog-events');
    await admin.deleteTopicRecords({
      topic: 'catalog-events',
      partitions: [{ partition: lost.partition, offset: String(lost.last + 1) }],
    });
  });

  await until('what vanished is on record', async () => (await vanished()).length > 0);
  await stack.start('bridge');
  await until('all of it has arrived', async () => (await count(notLogged)) === 0, {
    timeoutMs: 90_000,
  });
  await untilAtRest();
  const noted = (await vanished()).filter(({ partition }) => partition === lost.partition);
  expect(noted).toEqual([{ topic: 'catalog-events', ...lost, reason: 'RETENTION' }]);
}, 240_000);

test('both topics recreated while the bridge was stopped: every event arrives, and verify holds', async () => {
  await commitOffsets();
  await adjustStock(10, 19);
  const published = await count(notLogged);
  expect(published).toBe(200);
  const publishedAt = Date.now();
  // An attempt of the audit that is lost is noticed after a minute only.
  await until('the audit has seen what is in Kafka', () => auditedSince(publishedAt), {
    timeoutMs: 120_000,
  });
  await withAdmin(async (admin) => {
    await admin.deleteTopics({ topics: [...eventTopics] });
    await until('they are gone', async () => {
      const left = await admin.listTopics();
      return !eventTopics.some((topic) => left.includes(topic));
    });
  });
  await migrateTopics(stack.kafka, createLogger('test', 'silent'));
  await stack.start('bridge');

  await until('all of it has arrived', async () => (await count(notLogged)) === 0, {
    timeoutMs: 120_000,
  });
  await untilAtRest();
  expect(await vanished()).toContainEqual(expect.objectContaining({ reason: 'TOPIC_MADE_ANEW' }));
}, 300_000);
