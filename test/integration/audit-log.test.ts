import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import { toMessage, type Event } from '../../events/envelope';
import { parseMessage } from '../../events/parse';
import type { ReceivedEvent } from '../../events/received';
import { events } from '../../testkit/event-arbitraries';
import { exampleEvent } from '../../testkit/example-events';
import { createStack, type Stack } from '../../testkit/stack';

let stack: Stack;
let nextOffset = 0;

beforeAll(async () => {
  stack = await createStack([]);
});

afterAll(() => stack?.stop());

/** The event as the bridge hands it on, which has checked it. */
function received(event: Event): ReceivedEvent {
  const { topic, key, value } = toMessage(event);
  parseMessage({ topic, key: Buffer.from(key), value: Buffer.from(value) });
  const offset = (nextOffset += 1);
  const coordinates = { topic, partition: 0, offset };
  return { ...coordinates, eventId: event.id, key, value, headers: [], producedAt: 0 };
}

async function logAndApply(batch: readonly ReceivedEvent[]): Promise<void> {
  const eventIds = batch.map(({ eventId }) => eventId);
  await createAuditLogActivities(stack).writeAuditLog(batch);
  await createMetricsActivities(stack).updateMetrics({ eventIds, workflowId: 'test' });
}

test('whatever is accepted as an event can be logged and counted', async () => {
  const batch = fc.sample(events, 500).map((event) => received({ ...event, id: randomUUID() }));
  await logAndApply(batch);
  const { rows } = await stack.pool.query<{ event_id: string; payload: unknown }>(
    `SELECT event_id, payload FROM collector.event_log JOIN collector.event_handled USING (event_id)
     WHERE event_id = ANY($1)`,
    [batch.map(({ eventId }) => eventId)],
  );
  const payloads = new Map(rows.map(({ event_id, payload }) => [event_id, payload]));
  for (const { eventId, value } of batch) expect(payloads.get(eventId)).toEqual(JSON.parse(value));
});

test.each([
  ['far east of UTC', '2026-01-01T00:00:00+23:59', '2025-12-31T00:01:00.000Z', '2025-12-31'],
  ['far west of UTC', '2026-01-01T00:00:00-23:59', '2026-01-01T23:59:00.000Z', '2026-01-01'],
  [
    'just before midnight',
    '2026-01-01T23:59:59.9999999Z',
    '2026-01-01T23:59:59.999Z',
    '2026-01-01',
  ],
  [
    'with 300 digits',
    `2026-01-01T00:00:00.${'1'.repeat(300)}Z`,
    '2026-01-01T00:00:00.111Z',
    '2026-01-01',
  ],
  ['in small letters', '2026-01-01t00:00:00z', '2026-01-01T00:00:00.000Z', '2026-01-01'],
  ['in a leap second', '2016-12-31T23:59:60Z', '2016-12-31T23:59:59.999Z', '2016-12-31'],
  [
    'in a leap second elsewhere',
    '2017-01-01T08:59:60.5+09:00',
    '2016-12-31T23:59:59.999Z',
    '2016-12-31',
  ],
  ['in the first year', '0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z', '0001-01-01'],
  ['in the last year', '9999-12-31T23:59:59.9999999Z', '9999-12-31T23:59:59.999Z', '9999-12-31'],
])('an event %s is logged at its instant, and counts on its day', async (_, time, instant, day) => {
  const productId = randomUUID();
  const data = { productId };
  const event = exampleEvent('ProductViewed', { id: randomUUID(), time, subject: productId, data });
  await logAndApply([received(event as unknown as Event)]);
  const { rows } = await stack.pool.query(
    `SELECT
       to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS occurred_at,
       metric.day::text
     FROM collector.event_log JOIN collector.product_metrics_daily AS metric
       ON metric.product_id = event_log.aggregate_id
     WHERE event_id = $1`,
    [event['id']],
  );
  expect(rows).toEqual([{ occurred_at: instant, day }]);
});
