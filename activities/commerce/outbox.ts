/**
 * Transactional outbox: a state change and its event are written in one transaction, so neither exists
 * without the other. The workflow that wrote the event publishes it; see publish.ts.
 */
import { createEvent, toMessage, type Event, type NewEvent } from '../../events/envelope';
import type { EventData, EventType } from '../../events/schemas';
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
  await connection.query({
    name: 'outbox-append',
    text: `
      ${insertIntoOutbox}
      SELECT event.*, $6
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[]) AS event
      ON CONFLICT (event_id) DO NOTHING`,
    values: outboxValues(events),
  });
}

/** The start of a statement that writes events of {@link outboxValues}. */
export const insertIntoOutbox =
  'INSERT INTO commerce.outbox (event_id, topic, key, type, payload, traceparent)';

/** The values of events: an array for each column, and the trace that they are written in. */
export function outboxValues(events: readonly Event[]): [...string[][], string | null] {
  const messages = events.map(toMessage);
  return [
    events.map(({ id }) => id),
    messages.map(({ topic }) => topic),
    messages.map(({ key }) => key),
    events.map(({ type }) => type),
    messages.map(({ value }) => value),
    currentTraceparent() ?? null,
  ];
}

/** A new event of which the statement that writes it adds the rest of the `data`. */
export function draftEvent<T extends EventType>(
  draft: Omit<NewEvent<T>, 'data'> & { readonly data: Partial<EventData<T>> },
): Event {
  return createEvent(draft as NewEvent<T>) as Event;
}
