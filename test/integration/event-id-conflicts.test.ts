/** Two different events with one ID: the first counts, the other is parked, and a true repeat is neither. */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import {
  createAuditLogActivities,
  type EventIdConflict,
} from '../../activities/collector/audit-log';
import type { ReceivedEvent } from '../../events/received';
import { eventTopics } from '../../events/topics';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { messageOf, produce, viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { createStack, registerNamespace, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
let stack: Stack;

afterEach(() => stack?.stop());

/** A view of `productId` with an ID that another event may have, too. */
function viewOf(id: string, source: string, productId: string): ForeignEvent {
  return { ...viewed(productId), id, source };
}

/** Sends each message to a partition of its own choice, so that none of them waits for another. */
async function send(...events: readonly ForeignEvent[]): Promise<void> {
  await produce(stack.kafka, topic, events.map(messageOf));
}

async function untilConsumed(groupId = stack.config.BRIDGE_GROUP_ID): Promise<void> {
  await until('all is consumed', async () => {
    return totalLag(await readConsumerLag(stack.kafka, groupId, eventTopics)) === 0;
  });
}

async function untilQuiet(client = stack.temporal): Promise<void> {
  await until('no workflow is open', async () => {
    return (await client.workflow.count('ExecutionStatus = "Running"')).count === 0;
  });
}

async function untilHandled(id: string): Promise<void> {
  await until(`${id} is handled`, async () => {
    const { rowCount } = await stack.pool.query(
      'SELECT FROM collector.event_handled WHERE event_id = $1',
      [id],
    );
    return rowCount === 1;
  });
}

async function views(productId: string): Promise<number> {
  const { rows } = await stack.pool.query<{ view_count: number }>(
    'SELECT view_count FROM collector.product_metrics WHERE product_id = $1',
    [productId],
  );
  return rows[0]?.view_count ?? 0;
}

interface Parked {
  readonly reason: string;
  readonly detail: string;
  readonly source: string;
}

async function parked(): Promise<Parked[]> {
  const { rows } = await stack.pool.query<{ reason: string; detail: string; value: Buffer }>(
    'SELECT reason, detail, value FROM collector.dead_letters ORDER BY id',
  );
  return rows.map(({ value, ...row }) => ({
    ...row,
    source: (JSON.parse(value.toString()) as { source: string }).source,
  }));
}

async function loggedPlace(id: string): Promise<string> {
  const { rows } = await stack.pool.query<{ place: string }>(
    `SELECT topic || '/' || partition || ', offset ' || "offset" AS place
     FROM collector.event_log WHERE event_id = $1`,
    [id],
  );
  return rows[0]!.place;
}

async function untilParked(count: number): Promise<Parked[]> {
  return until(`${count} are parked`, async () => {
    const letters = await parked();
    return letters.length === count ? letters : undefined;
  });
}

describe.each([
  ['one workflow an event', { BRIDGE_MODE: 'per-event' }],
  // With one slot, two messages that come together go into one batch.
  ['batches', { BRIDGE_MODE: 'coalesce', BRIDGE_MAX_IN_FLIGHT: '1' }],
])('with %s', (_, environment) => {
  beforeEach(async () => {
    stack = await createStack(['worker:collector'], environment);
  });

  test('the second of two events with one ID is parked with both sources, long after, at the same time and after Temporal forgot', async () => {
    await stack.start('bridge');
    const first = viewOf('42', '/a', 'product-1');
    await send(first);
    await untilHandled('42');
    await untilQuiet();
    await send(viewOf('42', '/b', 'product-2'));
    const [letter] = await untilParked(1);
    expect(letter).toMatchObject({ reason: 'EVENT_ID_CONFLICT', source: '/b' });
    for (const part of ['/a', '/b', await loggedPlace('42')])
      expect(letter?.detail).toContain(part);
    expect([await views('product-1'), await views('product-2')]).toEqual([1, 0]);

    // True repeats: the same bytes, and the same content written otherwise.
    const rewritten = Object.fromEntries(Object.entries(first).reverse());
    await produce(stack.kafka, topic, [
      messageOf(first),
      { key: first.subject, value: JSON.stringify(rewritten, null, 2) },
    ]);
    await untilConsumed();
    await untilQuiet();
    expect(await parked()).toHaveLength(1);

    // At the same time: which of them is first is left to chance.
    await send(
      ...['/a', '/b', '/c'].map((source) => viewOf('43', source, 'product-3')),
      viewOf('44', '/a', 'product-4'),
    );
    await Promise.all([untilHandled('43'), untilHandled('44')]);
    const letters = (await untilParked(3)).slice(1);
    expect(letters.map(({ reason }) => reason)).toEqual(Array(2).fill('EVENT_ID_CONFLICT'));
    expect(new Set(letters.map(({ source }) => source)).size).toBe(2);
    expect([await views('product-3'), await views('product-4')]).toEqual([1, 1]);

    // Temporal forgets and everything comes again: nothing is parked that was not.
    await untilConsumed();
    await untilQuiet();
    for (const each of [...stack.running('bridge'), ...stack.running('worker:collector')]) {
      await each.end();
    }
    const empty = { TEMPORAL_NAMESPACE: `${stack.config.TEMPORAL_NAMESPACE}_empty` };
    await registerNamespace(stack.temporal, empty.TEMPORAL_NAMESPACE);
    const again = { ...empty, BRIDGE_GROUP_ID: 'again' };
    await stack.start('worker:collector', again);
    await stack.start('bridge', again);
    await untilConsumed('again');
    await send(viewOf('42', '/c', 'product-5'));
    expect((await untilParked(4)).at(-1)).toMatchObject({ source: '/c' });
    await untilConsumed('again');
    expect(await parked()).toHaveLength(4);
    expect([await views('product-1'), await views('product-3')]).toEqual([1, 1]);
  }, 240_000);

  test('a second one that comes while the first is under way is parked when the first is logged', async () => {
    await stack.start('bridge');
    // The first has its workflow, which is blocked before the log.
    const database = await stack.pool.connect();
    try {
      await database.query('BEGIN');
      await database.query('LOCK TABLE collector.event_log IN SHARE ROW EXCLUSIVE MODE');
      await send(viewOf('42', '/a', 'product-1'));
      await until('its workflow runs', async () => (await stack.temporal.workflow.count()).count);
      await send(viewOf('42', '/b', 'product-2'));
      if (environment.BRIDGE_MODE === 'per-event') {
        await until('both have a workflow', async () => {
          return (await stack.temporal.workflow.count()).count === 2;
        });
      }
      await database.query('ROLLBACK');
    } finally {
      database.release();
    }
    await untilHandled('42');
    const [letter] = await untilParked(1);
    expect(letter).toMatchObject({ reason: 'EVENT_ID_CONFLICT' });
    expect((await views('product-1')) + (await views('product-2'))).toBe(1);
    expect(letter?.source).toBe((await views('product-1')) === 1 ? '/b' : '/a');
    await untilConsumed();
  }, 120_000);

  test('an event that Temporal finished and the database forgot is logged and counted again', async () => {
    await stack.start('bridge');
    await send(viewOf('42', '/a', 'product-1'));
    await untilHandled('42');
    await untilConsumed();
    await untilQuiet();
    await stack.pool.query(
      'TRUNCATE collector.event_log, collector.event_handled, collector.product_metrics',
    );
    for (const each of stack.running('bridge')) await each.end();
    await stack.start('bridge', { BRIDGE_GROUP_ID: 'again' });
    await untilHandled('42');
    expect(await views('product-1')).toBe(1);
    expect(await parked()).toEqual([]);
  }, 120_000);
});

test('in any order, with repeats and side by side, one content an ID is logged and every other is reported', async () => {
  stack = await createStack([]);
  const { writeAuditLog } = createAuditLogActivities({ pool: stack.pool });
  const copy = fc.record({
    id: fc.constantFrom('a', 'b', 'c'),
    source: fc.constantFrom('/x', '/y'),
    quantity: fc.constantFrom('2', '2.0', '20e-1', '3'),
  });
  const calls = fc.array(fc.array(copy, { minLength: 1, maxLength: 5 }), {
    minLength: 1,
    maxLength: 6,
  });

  await fc.assert(
    fc.asyncProperty(calls, fc.boolean(), async (given, sideBySide) => {
      const run = randomUUID();
      let offset = 0;
      const batches = given.map((batch) =>
        batch.map(({ id, source, quantity }): ReceivedEvent => {
          const eventId = `${run}-${id}`;
          const rest = JSON.stringify({
            ...viewed('product-1'),
            id: eventId,
            source,
            time: '2026-01-01T00:00:00Z',
          });
          const value = `${rest.slice(0, -1)},"extra":${quantity}}`;
          offset += 1;
          return {
            ...{ topic, partition: 0, offset, eventId, key: 'product-1', value },
            ...{ headers: [], producedAt: 0 },
          };
        }),
      );
      const reported: EventIdConflict[] = [];
      const write = async (batch: readonly ReceivedEvent[]): Promise<void> => {
        const answer = await writeAuditLog(batch);
        reported.push(...answer.conflicts);
        // As after a crash between the insert and its answer.
        expect(await writeAuditLog(batch)).toEqual(answer);
      };
      if (sideBySide) await Promise.all(batches.map(write));
      else for (const batch of batches) await write(batch);

      const { rows } = await stack.pool.query<{ event_id: string; payload: unknown }>(
        'SELECT event_id, payload FROM collector.event_log WHERE starts_with(event_id, $1)',
        [run],
      );
      const logged = new Map(rows.map((row) => [row.event_id, row.payload]));
      const places = new Set(reported.map((conflict) => conflict.offset));
      for (const event of batches.flat()) {
        expect(logged.has(event.eventId)).toBe(true);
        const isLogged = sameJson(logged.get(event.eventId), JSON.parse(event.value));
        expect(places.has(event.offset)).toBe(!isLogged);
      }
      for (const { logged: other, source } of reported) {
        expect(other.source).toMatch(/^\/[xy]$/);
        expect(source).toMatch(/^\/[xy]$/);
      }
    }),
    { numRuns: 100 },
  );
}, 120_000);

function sameJson(one: unknown, other: unknown): boolean {
  try {
    expect(one).toEqual(other);
    return true;
  } catch {
    return false;
  }
}
