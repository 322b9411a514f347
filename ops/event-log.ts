/** The audit log as an operator reads it, page by page, the newest event first. */
import type { Event } from '../events/envelope';
import { eventDefinitions } from '../events/schemas';
import type { Queryable } from '../platform/postgres';

/** A logged event. Times are RFC 3339. */
export interface LoggedEvent {
  readonly eventId: string;
  readonly type: string;
  readonly aggregateId: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** When it happened, as the event says. */
  readonly occurredAt: string;
  readonly recordedAt: string;
  /** When its effects were applied; null while they are not. */
  readonly handledAt: string | null;
  /** The workflow that applied them: where to look in the Web UI. */
  readonly workflowId: string | null;
  /** The whole event. */
  readonly payload: Event;
}

/** Which events to list; every condition that is given must hold. */
export interface EventFilter {
  readonly type?: string | undefined;
  readonly aggregateId?: string | undefined;
}

/** One page of events. */
export interface EventPage {
  readonly events: readonly LoggedEvent[];
  /** The cursor of the next page: the ID of this page's last event. Absent when this is the last. */
  readonly next?: string;
}

/** The cursor names an event that is not in the log. */
export class UnknownCursorError extends Error {
  override readonly name = 'UnknownCursorError';
  readonly code = 'UNKNOWN_CURSOR';
}

/**
 * A page of the log.
 *
 * @param page `after` is the `next` of the page before
 * @throws UnknownCursorError
 */
export async function listEvents(
  database: Queryable,
  filter: EventFilter = {},
  {
    limit = 50,
    after,
  }: { readonly limit?: number | undefined; readonly after?: string | undefined } = {},
): Promise<EventPage> {
  if (after !== undefined) await refuseUnknownCursor(database, after);
  const { rows } = await database.query<EventRow>({
    text: pageStatement(filter, after),
    values: [
      filter.type === undefined ? Object.keys(eventDefinitions) : [filter.type],
      filter.aggregateId ?? null,
      limit + 1,
      ...(after === undefined ? [] : [after]),
    ],
  });
  const events = rows.slice(0, limit).map(toLoggedEvent);
  const last = events.at(-1);
  return rows.length > limit && last !== undefined ? { events, next: last.eventId } : { events };
}

// The log is read in the order in which it grows, backwards: a short scan of the index for each type,
// or the few events of one aggregate. Only without an optional condition can a scan begin at the cursor.
function pageStatement({ aggregateId }: EventFilter, after: string | undefined): string {
  const start = `
    AND (recorded_in, event_id) < (
      SELECT recorded_in, event_id FROM collector.event_log WHERE event_id = $4)`;
  const page = (types: string): string => `
    SELECT * FROM collector.event_log
    WHERE type ${types} AND ($2::text IS NULL OR aggregate_id = $2) ${after === undefined ? '' : start}
    ORDER BY recorded_in DESC, event_id DESC LIMIT $3`;
  const source =
    aggregateId === undefined
      ? `unnest($1::text[]) AS wanted (wanted_type) CROSS JOIN LATERAL (${page('= wanted_type')}) AS event`
      : `(${page('= ANY ($1::text[])')}) AS event`;
  return `
    SELECT event_id, type, aggregate_id, topic, partition, "offset", occurred_at, recorded_at,
      handled_at, workflow_id, payload
    FROM ${source} LEFT JOIN collector.event_handled USING (event_id)
    ORDER BY recorded_in DESC, event_id DESC LIMIT $3`;
}

async function refuseUnknownCursor(database: Queryable, eventId: string): Promise<void> {
  const { rowCount } = await database.query({
    text: 'SELECT FROM collector.event_log WHERE event_id = $1',
    values: [eventId],
  });
  if (rowCount === 0) {
    throw new UnknownCursorError(
      `No event ${eventId} is in the log: begin again without a cursor.`,
    );
  }
}

interface EventRow {
  readonly event_id: string;
  readonly type: string;
  readonly aggregate_id: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly occurred_at: Date;
  readonly recorded_at: Date;
  readonly handled_at: Date | null;
  readonly workflow_id: string | null;
  readonly payload: Event;
}

function toLoggedEvent(row: EventRow): LoggedEvent {
  return {
    eventId: row.event_id,
    type: row.type,
    aggregateId: row.aggregate_id,
    topic: row.topic,
    partition: row.partition,
    offset: row.offset,
    occurredAt: row.occurred_at.toISOString(),
    recordedAt: row.recorded_at.toISOString(),
    handledAt: row.handled_at?.toISOString() ?? null,
    workflowId: row.workflow_id,
    payload: row.payload,
  };
}
