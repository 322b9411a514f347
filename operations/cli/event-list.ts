/** The audit log for `events list`: newest first, with the handling of each event. */
import type { Event } from '../../events/envelope';
import { eventTypes, type EventType } from '../../events/schemas';
import { findPosition, listEvents, type LoggedEvent } from '../event-log';
import type { Queryable } from '../../platform/postgres/pool';

/** A logged event. Times are RFC 3339. */
export interface ListedEvent {
  readonly eventId: string;
  readonly type: string;
  readonly aggregateId: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** The event's `time`. */
  readonly occurredAt: string;
  readonly recordedAt: string;
  /** When its effects were applied; null before. */
  readonly handledAt: string | null;
  /** The workflow that applied them, to look up in the Web UI. */
  readonly workflowId: string | null;
  readonly payload: Event;
}

/** Filter of events; all given conditions must hold. */
export interface EventFilter {
  readonly type?: EventType | undefined;
  readonly aggregateId?: string | undefined;
}

export interface EventPage {
  readonly events: readonly ListedEvent[];
  /** The cursor of the next page: the ID of this page's last event. Absent when this is the last. */
  readonly next?: string;
}

/** The cursor names an event that is not in the log. */
class UnknownCursorError extends Error {
  override readonly name = 'UnknownCursorError';
  readonly code = 'UNKNOWN_CURSOR';
}

/**
 * A page of the log.
 *
 * @param page `after` is the `next` of the page before
 * @throws UnknownCursorError
 */
export async function readEventPage(
  database: Queryable,
  { type, aggregateId }: EventFilter,
  { limit, after }: { readonly limit: number; readonly after?: string | undefined },
): Promise<EventPage> {
  const found = await listEvents(
    database,
    { types: type === undefined ? eventTypes : [type], aggregateId },
    {
      order: 'newest-first',
      limit: limit + 1,
      after: after === undefined ? undefined : await positionOf(database, after),
    },
  );
  const events = await withHandling(database, found.slice(0, limit));
  const last = events.at(-1);
  return found.length > limit && last !== undefined ? { events, next: last.eventId } : { events };
}

async function positionOf(database: Queryable, eventId: string) {
  const position = await findPosition(database, eventId);
  if (position !== undefined) return position;
  throw new UnknownCursorError(`No event ${eventId} is in the log: start again without a cursor.`);
}

async function withHandling(
  database: Queryable,
  events: readonly LoggedEvent[],
): Promise<ListedEvent[]> {
  const { rows } = await database.query<HandlingRow>({
    text: `
      SELECT event_id, workflow_id, handled_at FROM collector.event_handled
      WHERE event_id = ANY($1)`,
    values: [events.map(({ eventId }) => eventId)],
  });
  const handlings = new Map(rows.map((row) => [row.event_id, row]));
  return events.map((event) => toListedEvent(event, handlings.get(event.eventId)));
}

interface HandlingRow {
  readonly event_id: string;
  readonly workflow_id: string;
  readonly handled_at: Date;
}

function toListedEvent(
  { position: _, occurredAt, recordedAt, event, ...rest }: LoggedEvent,
  handling: HandlingRow | undefined,
): ListedEvent {
  return {
    ...rest,
    occurredAt: occurredAt.toISOString(),
    recordedAt: recordedAt.toISOString(),
    handledAt: handling?.handled_at.toISOString() ?? null,
    workflowId: handling?.workflow_id ?? null,
    payload: event,
  };
}
