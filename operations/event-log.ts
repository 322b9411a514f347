/**
 * The audit log, page by page. The HTTP routes and the command line both read it through this file.
 *
 * Each page begins behind the last event of the one before, by a position that no clock gives.
 * `recorded_at` is drawn before the commit, so a row that is committed late would slip in behind a
 * reader who has passed. So rows are ordered by the transaction that wrote them.
 */
import type { Event } from '../events/envelope';
import type { EventType } from '../events/schemas';
import type { Queryable } from '../platform/postgres/pool';

/** An event of the audit log. */
export interface LoggedEvent {
  readonly eventId: string;
  readonly type: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly aggregateId: string;
  /** When it happened, as the event says. */
  readonly occurredAt: Date;
  readonly recordedAt: Date;
  /** The whole event, its envelope included. */
  readonly event: Event;
  /** Its place in the log, as the next page's `after`. */
  readonly position: LogPosition;
}

/** A place in the audit log: the transaction, and the event's ID. */
export type LogPosition = readonly [transaction: string, eventId: string];

/** Which events to read; every condition that is given must hold. */
export interface LogFilter {
  /** Of one of these types. */
  readonly types: readonly EventType[];
  readonly aggregateId?: string | undefined;
}

/** In which order to read. */
type LogOrder =
  /**
   * As the log grows. Whoever follows it sees every event exactly once: events are shown once every
   * transaction up to theirs is over. The price: a transaction that writes anywhere in this server
   * and stays open holds back what is logged after it began, until it ends.
   */
  | 'oldest-first'
  /** What is there now; an event that is committed later than its neighbours is not waited for. */
  | 'newest-first';

/** Which part of the log to read. */
export interface LogPage {
  readonly order: LogOrder;
  readonly limit: number;
  /** The position of the last event of the page before. */
  readonly after?: LogPosition | undefined;
}

/** A page of the log. */
export async function listEvents(
  database: Queryable,
  { types, aggregateId }: LogFilter,
  { order, limit, after = beginnings[order] }: LogPage,
): Promise<LoggedEvent[]> {
  const ofAggregate = aggregateId !== undefined;
  const { rows } = await database.query<LoggedEvent>({
    name: `event-log-${order}${ofAggregate ? '-of-aggregate' : ''}`,
    text: ofAggregate ? logOfAggregate(order) : logByType(order),
    values: [types, ...after, limit, ...(ofAggregate ? [aggregateId] : [])],
  });
  return rows;
}

/** Where an event stands in the log; undefined when it is not there. */
export async function findPosition(
  database: Queryable,
  eventId: string,
): Promise<LogPosition | undefined> {
  const { rows } = await database.query<Pick<LoggedEvent, 'position'>>({
    text: `
      SELECT ARRAY[recorded_in::text, event_id] AS position
      FROM collector.event_log WHERE event_id = $1`,
    values: [eventId],
  });
  return rows[0]?.position;
}

/** Before the first transaction, and behind the last that there can be. */
const beginnings: Readonly<Record<LogOrder, LogPosition>> = {
  'oldest-first': ['0', ''],
  'newest-first': ['18446744073709551615', ''],
};

const columns = `
  event_id AS "eventId", type, topic, partition, "offset", aggregate_id AS "aggregateId",
  occurred_at AS "occurredAt", recorded_at AS "recordedAt", payload AS event,
  ARRAY[recorded_in::text, event_id] AS position`;

// Over are all transactions before the oldest that is still running. One that has not begun yet, as
// this server counts, comes from a server that these rows were restored from.
const transactionIsOver = `(
  recorded_in < (SELECT pg_snapshot_xmin(pg_current_snapshot()))
  OR recorded_in >= (SELECT pg_snapshot_xmax(pg_current_snapshot())))`;

const behindPosition: Readonly<Record<LogOrder, string>> = {
  'oldest-first': `(recorded_in, event_id) > ($2::xid8, $3) AND ${transactionIsOver}`,
  'newest-first': '(recorded_in, event_id) < ($2::xid8, $3)',
};

const inOrder: Readonly<Record<LogOrder, string>> = {
  'oldest-first': 'ORDER BY recorded_in, event_id LIMIT $4',
  'newest-first': 'ORDER BY recorded_in DESC, event_id DESC LIMIT $4',
};

// A short scan of the index for each type, which begins at the position.
function logByType(order: LogOrder): string {
  return `
    SELECT ${columns}
    FROM unnest($1::text[]) AS wanted (wanted_type)
    CROSS JOIN LATERAL (
      SELECT * FROM collector.event_log
      WHERE type = wanted_type AND ${behindPosition[order]} ${inOrder[order]}) AS event
    ${inOrder[order]}`;
}

function logOfAggregate(order: LogOrder): string {
  return `
    SELECT ${columns} FROM collector.event_log
    WHERE aggregate_id = $5 AND type = ANY($1::text[]) AND ${behindPosition[order]}
    ${inOrder[order]}`;
}
