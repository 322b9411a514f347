/**
 * The audit log, page by page. Shared by the HTTP routes and the command line.
 *
 * Pagination uses transaction IDs, not timestamps: `recorded_at` is set before the commit, so a row
 * committed late would be skipped by a reader who is past it.
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
  /** Its cursor in the log, as the next page's `after`. */
  readonly position: LogPosition;
}

/** A cursor in the audit log: the transaction, and the event's ID. */
export type LogPosition = readonly [transaction: string, eventId: string];

/** Filter of events; all given conditions must hold. */
export interface LogFilter {
  /** Of one of these types. */
  readonly types: readonly EventType[];
  readonly aggregateId?: string | undefined;
}

/** In which order to read. */
type LogOrder =
  /**
   * Commit order: a reader that follows the log sees every event exactly once, since an event is
   * visible only once every earlier transaction has ended. The cost: a long writing transaction
   * anywhere in this PostgreSQL server delays everything logged after it began.
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

/** The cursor of an event in the log; undefined when it is not there. */
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

/** Whether the server has not counted as far as a cursor: it comes from before the server was restored. */
export async function isAheadOfServer(
  database: Queryable,
  [transaction]: LogPosition,
): Promise<boolean> {
  const { rows } = await database.query<{ ahead: boolean }>({
    text: 'SELECT $1::xid8 >= pg_snapshot_xmax(pg_current_snapshot()) AS ahead',
    values: [transaction],
  });
  return rows[0]!.ahead;
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

// All transactions before the oldest running one have ended. An ID beyond this server's counter
// comes from the server that these rows were restored from.
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

// One short index scan per type, starting at the cursor.
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
