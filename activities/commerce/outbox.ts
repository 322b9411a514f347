/**
 * Transactional outbox: a state change and its event are written in one transaction, so neither exists
 * without the other. The workflow that wrote the event publishes it; see publish.ts.
 */
import { DatabaseError } from 'pg';
import {
  createEvent,
  toMessage,
  type Event,
  type EventOf,
  type NewEvent,
} from '../../events/envelope';
import { deriveEventId } from '../../events/identifiers';
import type { EventData, EventType } from '../../events/schemas';
import type { Queryable } from '../../platform/postgres/pool';
import { currentTraceparent } from '../../platform/observability/tracing';

/**
 * Adds events to the outbox; idempotent. Call it in the transaction of the change, after locking the
 * aggregate's row: that makes the outbox's sequence the commit order. The events keep the trace that
 * they are written in.
 *
 * @returns how many of them it did not have
 */
export async function appendToOutbox(
  connection: Queryable,
  events: readonly Event[],
): Promise<number> {
  const { rowCount } = await connection.query({
    name: 'outbox-append',
    text: `
      ${insertIntoOutbox}
      SELECT event.*, $6
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[]) AS event
      ON CONFLICT (event_id) DO NOTHING`,
    values: outboxValues(events),
  });
  return rowCount ?? 0;
}

/**
 * Adds the event of a change that is not in the shop's tables, so that an event of its ID is an adopted one: then
 * it is told under another.
 *
 * @returns the event as it is told
 */
export async function appendUnderFreeId<T extends EventType>(
  connection: Queryable,
  event: EventOf<T>,
): Promise<EventOf<T>> {
  if ((await appendToOutbox(connection, [event as Event])) === 1) return event;
  const id = idAfterLoss(event.id, event.type, event.subject);
  return appendUnderFreeId(connection, { ...event, id });
}

/**
 * The ID under which a change is told that is made again, since a restore has lost it. The same for every try;
 * where that was lost, too, the one after it.
 */
export function idAfterLoss(toldId: string, type: EventType, aggregateId: string): string {
  return deriveEventId(toldId, type, aggregateId);
}

/** Whether the outbox has an event since it was adopted after a restore: it is told, and its change is lost. */
export async function isAdopted(connection: Queryable, eventId: string): Promise<boolean> {
  const { rowCount } = await connection.query({
    name: 'outbox-adopted',
    text: 'SELECT FROM commerce.outbox WHERE event_id = $1 AND adopted_at IS NOT NULL',
    values: [eventId],
  });
  return rowCount === 1;
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
