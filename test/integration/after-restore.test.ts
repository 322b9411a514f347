/**
 * PostgreSQL is restored to an earlier moment, while Kafka and Temporal remember the later one: what Kafka
 * still has is counted, once, and readers see what comes next.
 */
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { createCommands } from '../../api/commands/temporal-commands';
import { createEventReader } from '../../api/dashboard/client/server-sent-events';
import { changeLike } from '../../events/commands/change-like';
import { repairAfterRestore } from '../../operations/after-restore';
import { verify } from '../../operations/verification';
import { moveGroup } from '../../platform/kafka/consumer-group';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { inTransaction } from '../../platform/postgres/pool';
import { eventTopics } from '../../events/topics';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { saveDatabase } from '../../testkit/database-dump';
import { runOps } from '../../testkit/run-ops';
import { createStack, type ApiAnswer, type ProcessName, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const groupId = 'commerce-collector';

describe.each(['coalesce', 'per-event'])('with %s', (mode) => {
  const writers: ProcessName[] = ['worker:collector', 'worker:commerce', 'api'];
  let stack: Stack;
  const sent: string[] = [];

  beforeAll(async () => {
    stack = await createStack(writers, {
      BRIDGE_MODE: mode,
      AUDIT_INTERVAL_MS: '2000',
      AUDIT_UNCONFIRMED_AFTER_MS: '2000',
      AUDIT_UNHANDLED_AFTER_MS: '4000',
      AUDIT_UNDECIDED_AFTER_MS: '2000',
    });
    await stack.start('bridge');
  });

  afterAll(() => stack?.stop());

  async function view(count: number): Promise<void> {
    const events = Array.from({ length: count }, (_, number) => viewed(`product-${number % 7}`));
    sent.push(...events.map(({ id }) => id));
    await produce(stack.kafka, 'catalog-events', events.map(messageOf));
  }

  async function count(text: string, values: unknown[] = []): Promise<number> {
    const { rows } = await stack.pool.query<{ count: string }>(text, values);
    return Number(rows[0]!.count);
  }

  const handled = (): Promise<number> =>
    count('SELECT count(*) FROM collector.event_handled WHERE event_id = ANY($1)', [sent]);
  const allHandled = (): Promise<number> => count('SELECT count(*) FROM collector.event_handled');
  const parked = (): Promise<number> => count('SELECT count(*) FROM collector.dead_letters');
  const viewsCounted = (): Promise<number> =>
    count('SELECT coalesce(sum(view_count), 0) AS count FROM collector.product_metrics');

  /** Reads the log through the API from a cursor on, as a follower does. */
  async function followLog(from?: string): Promise<{ eventIds: string[]; cursor: string }> {
    const eventIds: string[] = [];
    for (let cursor = from; ;) {
      const behind = cursor === undefined ? '' : `&after=${cursor}`;
      const { body } = await stack.call('GET', `/v1/events?limit=100${behind}`);
      eventIds.push(...(body.items as { eventId: string }[]).map(({ eventId }) => eventId));
      cursor = body.lastCursor as string;
      if (body.nextCursor === null) return { eventIds, cursor };
    }
  }

  /** The IDs that the stream tells from now on, as they come. */
  async function followStream(): Promise<{ eventIds: Set<string>; leave(): void }> {
    const headers = { authorization: 'Bearer dev-operator-key' };
    const request = get(`${stack.apiUrl()}/v1/stream`, { headers, agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const eventIds = new Set<string>();
    const read = createEventReader();
    response.setEncoding('utf8').on('data', (piece: string) => {
      for (const { type, data } of read(piece)) {
        if (type === 'handled') eventIds.add((JSON.parse(data) as { eventId: string }).eventId);
      }
    });
    response.on('error', () => undefined);
    return { eventIds, leave: () => response.destroy() };
  }

  async function register(): Promise<string> {
    const body = { name: 'A product', price: 100, stock: 10 };
    const registered = await stack.call('POST', '/v1/products', { body });
    return registered.body.productId as string;
  }

  async function like(productId: string, userId: string, method = 'PUT'): Promise<void> {
    const answer = await stack.call(method, `/v1/products/${productId}/like`, {
      as: 'shopper',
      userId,
    });
    expect(answer.status).toBe(200);
  }

  async function adjust(productId: string, delta: number): Promise<void> {
    const adjusted = await stack.call('POST', `/v1/products/${productId}/stock-adjustments`, {
      body: { delta, reason: 'correction' },
    });
    expect(adjusted.status).toBe(201);
  }

  /** Asks for one adjustment of a product, however often. */
  function adjustUnderKey(productId: string): Promise<ApiAnswer> {
    return stack.call('POST', `/v1/products/${productId}/stock-adjustments`, {
      body: { delta: -3, reason: 'correction' },
      idempotencyKey: `an-adjustment-of-${productId}`,
    });
  }

  function untilAdjustedUnderKey(productId: string): Promise<{ eventId: string }> {
    return until('the adjustment is made', async () => {
      const { status, body } = await adjustUnderKey(productId);
      return status === 201 ? (body as { eventId: string }) : undefined;
    });
  }

  /** Does the work while an adjustment of the product has its key, and cannot be made. */
  function whileAdjusting<T>(productId: string, work: () => Promise<T>): Promise<T> {
    return inTransaction(stack.pool, async (connection) => {
      await connection.query('SET LOCAL idle_in_transaction_session_timeout = 0');
      await connection.query('SELECT FROM commerce.products WHERE product_id = $1 FOR UPDATE', [
        productId,
      ]);
      adjustUnderKey(productId).catch(() => undefined);
      await until('its key is claimed', async () => (await keysClaimed()) === 1);
      return work();
    });
  }

  const keysClaimed = (): Promise<number> =>
    count('SELECT count(*) FROM commerce.idempotency_keys WHERE status IS NULL');

  /** Likes a product as one request, however often, as the workflow does that Temporal carries on. */
  function likeInOneRequest(productId: string): Promise<object> {
    const request = { requestId: `a-like-of-${productId}`, productId, userId: 'carl', liked: true };
    return createCommands(stack.temporal).execute(changeLike, request, true);
  }

  /** What the shop holds of a product, and what the collector counts of it. */
  async function bothSidesOf(productId: string): Promise<object[]> {
    const { rows } = await stack.pool.query<object>(
      `SELECT stock, stock_version AS "stockVersion", like_count AS likes, like_version AS "likeVersion"
       FROM commerce.products WHERE product_id = $1
       UNION ALL SELECT stock, stock_version, like_count, like_version
       FROM collector.product_metrics WHERE product_id = $1`,
      [productId],
    );
    return rows;
  }

  /** Orders one, of a gateway that takes its time, and returns when it is placed. */
  async function order(productId: string): Promise<string> {
    const body = { items: [{ productId, quantity: 1 }], paymentToken: 'tok_slow' };
    const ordering = stack.call('POST', '/v1/orders', { as: 'shopper', userId: 'ann', body });
    ordering.catch(() => undefined);
    return until('the order is placed', async () => {
      const { rows } = await stack.pool.query<{ id: string }>(
        `SELECT order_id AS id FROM commerce.orders WHERE status = 'PLACED'`,
      );
      return rows[0]?.id;
    });
  }

  const statusOf = async (orderId: string): Promise<string | undefined> => {
    const { rows } = await stack.pool.query<{ status: string }>(
      'SELECT status FROM commerce.orders WHERE order_id = $1',
      [orderId],
    );
    return rows[0]?.status;
  };

  async function untilConfirmedAndHandled(orderId: string): Promise<void> {
    await until(
      'the order is confirmed, and everything that the shop tells is handled',
      async () =>
        (await statusOf(orderId)) === 'CONFIRMED' &&
        (await count(
          `SELECT count(*) FROM commerce.outbox WHERE NOT EXISTS (
             SELECT FROM collector.event_handled WHERE event_handled.event_id = outbox.event_id)`,
        )) === 0,
      { timeoutMs: 60_000 },
    );
  }

  /** Commits an offset that a log does not reach, as one that was cut leaves it behind. */
  async function commitBeyondALog() {
    const lag = await readConsumerLag(stack.kafka, groupId, ['catalog-events']);
    const { topic, partition, end } = lag.find((each) => each.end > 0)!;
    await moveGroup(stack.kafka, groupId, [{ topic, partition, offset: end + 1_000 }]);
    return { topic, partition, from: end + 1_000, logEnd: end };
  }

  async function untilAuditIsQuiet(): Promise<void> {
    const since = new Date().toISOString();
    let audit: { startedAt: string; failure: string | null; findings: object } | null = null;
    await until(
      'an audit of now has ended',
      async () => {
        ({ audit } = (await stack.call('GET', '/v1/status')).body as { audit: typeof audit });
        return audit !== null && audit.startedAt > since;
      },
      { timeoutMs: 60_000 },
    );
    expect(audit).toMatchObject({ failure: null, findings: {} });
  }

  async function untilAtRest(letters: number): Promise<void> {
    await until(
      'everything is handled and committed',
      async () =>
        (await handled()) === sent.length &&
        (await parked()) === letters &&
        totalLag(await readConsumerLag(stack.kafka, groupId, eventTopics)) === 0,
      { timeoutMs: 60_000 },
    );
  }

  test('every event that Kafka still has is counted once, and what comes next is seen', async () => {
    const [productId, repeated] = [await register(), await register()];
    await like(productId, 'ann');
    await view(50);
    await untilAtRest(0);
    await view(40);
    // Some of the last are logged by then, some on their way, some not read. An order and an adjustment are
    // under way.
    const { orderId, saved } = await whileAdjusting(repeated, async () => ({
      orderId: await order(productId),
      saved: await saveDatabase(stack),
    }));
    const lost = await untilAdjustedUnderKey(repeated);
    expect(lost).toMatchObject({ stock: 7, version: 2 });
    const liked = { kind: 'liked', likeCount: 1, changed: true };
    expect(await likeInOneRequest(repeated)).toEqual(liked);
    await view(500);
    await produce(stack.kafka, 'order-events', [{ key: 'poison', value: 'not json' }]);
    await adjust(productId, -3);
    await like(productId, 'bob');
    await untilAtRest(1);
    await untilConfirmedAndHandled(orderId);
    const handledBefore = await allHandled();

    await expect(
      repairAfterRestore({ pool: stack.pool, kafka: stack.kafka, groupId }),
    ).rejects.toMatchObject({ code: 'GROUP_ACTIVE' });
    const running = [...writers, 'bridge' as const].flatMap((name) => stack.running(name));
    await Promise.all(running.map((each) => each.end('SIGTERM')));
    await saved.restore(1_000_000_000);
    await stack.start('api');
    const beforeRestore = await followLog();
    expect(await handled()).toBeLessThan(sent.length);
    expect(await statusOf(orderId)).toBe('PLACED');
    const beyond = await commitBeyondALog();

    const options = { pool: stack.pool, kafka: stack.kafka, groupId };
    const found = await repairAfterRestore(options, { isDryRun: true });
    const missing = found.rewound.reduce((sum, each) => sum + each.missing, 0);
    // The poison is missing, too.
    expect(missing).toBe(handledBefore - (await allHandled()) + 1);
    const { exitCode, stdout } = await runOps(stack, 'after-restore', '--json');
    expect(exitCode).toBe(0);
    const report = JSON.parse(stdout) as Awaited<ReturnType<typeof repairAfterRestore>>;
    expect(report.rewound).toContainEqual(expect.objectContaining(beyond));
    expect(report.renumbered.eventLog).toBeGreaterThan(0);
    const products = [productId, repeated].sort();
    const { events, aggregates } = report.lostByShop;
    expect(events).toBe(6);
    expect([...aggregates].sort()).toEqual([
      ...products.map((key) => `catalog-events/${key}`),
      `order-events/${orderId}`,
    ]);
    expect(report.toldAnew).toEqual({ stock: products, likes: products });
    expect(report.lostDecisions).toEqual([{ orderId, status: 'PLACED', told: 'CONFIRMED' }]);
    const again = await repairAfterRestore({ pool: stack.pool, kafka: stack.kafka, groupId });
    expect(again).toMatchObject({
      renumbered: { eventLog: 0, eventHandled: 0 },
      lostByShop: { events: 0, aggregates: [] },
      toldAnew: { stock: [], likes: [] },
    });

    const old = await stack.call('GET', `/v1/events?after=${beforeRestore.cursor}`);
    expect(old.status).toBe(400);
    expect(old.body.detail).toContain('begin without it');
    await Promise.all([stack.start('worker:commerce'), stack.start('worker:collector')]);
    const { cursor } = await followLog();
    const stream = await followStream();
    await stack.start('bridge');
    await adjust(productId, -1);
    await like(productId, 'ann', 'DELETE');
    // Above the lost version, and the one in which that is taken back.
    const made = await untilAdjustedUnderKey(repeated);
    expect(made).toMatchObject({ stock: 7, version: 4 });
    expect(made.eventId).not.toBe(lost.eventId);
    expect(await likeInOneRequest(repeated)).toEqual(liked);
    expect((await adjustUnderKey(repeated)).body).toEqual(made);
    expect(await likeInOneRequest(repeated)).toEqual(liked);
    await view(10);
    await untilConfirmedAndHandled(orderId);
    await untilAtRest(1);
    expect(await viewsCounted()).toBe(sent.length);
    const { eventIds } = await followLog(cursor);
    expect(eventIds).toEqual(expect.arrayContaining([...sent.slice(-10), made.eventId]));
    const held = { stock: 7, stockVersion: 4, likes: 1, likeVersion: 3 };
    expect(await bothSidesOf(repeated)).toEqual([held, held]);
    await until('the stream tells what came next', async () =>
      sent.slice(-10).every((id) => stream.eventIds.has(id)),
    );
    stream.leave();
    const { checks } = await verify(
      { pool: stack.pool, kafka: stack.kafka, groupId },
      { graceSeconds: 0 },
    );
    expect(checks.filter(({ holds }) => !holds)).toEqual([]);
    for (const name of ['stock-agreement', 'like-agreement']) {
      const { figures } = checks.find((check) => check.name === name)!;
      expect(figures).toEqual({ products: 2, compared: 2, inFlight: 0, shopBehind: 0 });
    }
    await untilAuditIsQuiet();
  }, 240_000);
});
