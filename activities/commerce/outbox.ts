/**
 * Transactional outbox: a state change and its event are written in one transaction, so neither exists
 * without the other. The workflow that wrote the event publishes it; see publish.ts.
 */
import { DatabaseError } from 'pg';
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

/** Whether a statement has written nothing since the outbox has one of its events: see {@link findTold}. */
export function isToldBefore(error: unknown): boolean {
  return (
    error instanceof DatabaseError &&
    error.code === uniqueViolation &&
    error.constraint === 'outbox_pkey'
  );
}

/** SQLSTATE unique_violation. */
const uniqueViolation = '23505';

/**
 * The IDs of those events that the outbox has. A change that is made once has none there before, but after a
 * restore to an earlier moment: the outbox then has what Kafka was told, and the shop not what it was told of.
 */
export async function findTold(
  database: Queryable,
  events: readonly Event[],
): Promise<ReadonlySet<string>> {
  const { rows } = await database.query<{ eventId: string }>({
    name: 'outbox-told',
    text: 'SELECT event_id AS "eventId" FROM commerce.outbox WHERE event_id = ANY($1)',
    values: [events.map(({ id }) => id)],
  });
  return new Set(rows.map(({ eventId }) => eventId));
}

/** A new event of which the statement that writes it adds the rest of the `data`. */
export function draftEvent<T extends EventType>(
  draft: Omit<NewEvent<T>, 'data'> & { readonly data: Partial<EventData<T>> },
): Event {
  return createEvent(draft as NewEvent<T>) as Event;
}
