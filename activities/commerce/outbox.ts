/**
 * Transactional outbox: a state change and its event are written in one transaction, so neither exists
 * without the other. The workflow that wrote the event publishes it; see publish.ts.
 */
import { toMessage, type Event } from '../../events/envelope';
import type { Queryable } from '../../platform/postgres/pool';
import { currentTraceparent } from '../../platform/observability/tracing';

/**
 * Adds events to the outbox; idempotent. Call it in the transaction of the change, after locking the
 * aggregate's row: that makes the outbox's sequence the commit order. The events keep the trace that
 * they are written in.
 */
export async function appendToOutbox(
  connection: Queryable,
  events: readonly Event[],
): Promise<void> {
  const messages = events.map(toMessage);
  await connection.query({
    name: 'outbox-append',
    text: `
      INSERT INTO commerce.outbox (event_id, topic, key, type, payload, traceparent)
      SELECT event.*, $6
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[]) AS event
      ON CONFLICT (event_id) DO NOTHING`,
    values: [
      events.map(({ id }) => id),
      messages.map(({ topic }) => topic),
      messages.map(({ key }) => key),
      events.map(({ type }) => type),
      messages.map(({ value }) => value),
      currentTraceparent() ?? null,
    ],
  });
}
