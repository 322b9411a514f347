/**
 * Reading which events have been handled, in an order that can be followed without a gap.
 *
 * Neither `handled_at` nor a transaction's ID gives that order: both are drawn before the commit, so
 * a row that is committed late would slip in behind a reader who has passed. What has been committed
 * between two looks is told by PostgreSQL itself: a row is new if the snapshot of the second look
 * sees its transaction and that of the first did not. So a place is a pair of snapshots and, between
 * them, the last row that was taken. Nothing is skipped or repeated, whatever commits when, and no
 * long transaction holds anything back.
 */
import { eventIdSchema } from '../../events/identifiers';
import { readCursor, snapshotPart, transactionPart, writeCursor } from '../http/cursor';
import type { Database } from '../http/database';

/** An event whose effects have been applied. */
export interface HandledEvent {
  readonly eventId: string;
  readonly type: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly aggregateId: string;
  readonly occurredAt: Date;
  readonly handledAt: Date;
  /** The workflow that handled it. */
  readonly workflowId: string;
}

/** A place among the handled events: behind a row of those that came between two snapshots. */
export interface HandledPosition {
  /** What was committed before it has been taken: a `pg_snapshot` as text. */
  readonly since: string;
  /** What was committed after it is not looked at yet. */
  readonly until: string;
  /** The last row that was taken between the two, by its transaction and event. */
  readonly transaction: string;
  readonly eventId: string;
}

/** An event and the place behind it. */
export interface PlacedEvent {
  readonly event: HandledEvent;
  readonly position: HandledPosition;
}

/** Some of the events behind a place. */
export interface HandledStep {
  readonly events: readonly PlacedEvent[];
  /** The place behind all of them. */
  readonly to: HandledPosition;
}

/** Reads handled events. Each call throws DatabaseUnavailableError when PostgreSQL is unavailable. */
export interface HandledEventReads {
  /** What is committed now, as a `pg_snapshot` in text. */
  takeSnapshot(): Promise<string>;
  /**
   * At most `limit` of the events that were committed behind a place and before `latest`; undefined
   * when the place is `latest`. With less than `limit` the place behind them is further on all the same.
   */
  readBehind(
    position: HandledPosition,
    latest: string,
    limit: number,
  ): Promise<HandledStep | undefined>;
  /** The last events that were committed before a snapshot, the oldest first. */
  readLast(latest: string, limit: number): Promise<HandledEvent[]>;
  /** Those of the last events of a type that have been handled, the newest first. */
  readLastOfType(type: string, limit: number): Promise<HandledEvent[]>;
}

/** The place behind everything that a snapshot sees. */
export function placeOf(snapshot: string): HandledPosition {
  return { since: snapshot, until: snapshot, transaction: '0', eventId: noEventId };
}

/** Whether a place lies ahead of a snapshot, as it does when it comes from another database. */
export function isAheadOf({ until }: HandledPosition, snapshot: string): boolean {
  return nextOf(until) > nextOf(snapshot);
}

/** A place as text that clients keep without looking into it. */
export function writePosition(position: HandledPosition): string {
  const { since, until, transaction, eventId } = position;
  return writeCursor([since, until, transaction, eventId]);
}

/** The place that a text stands for. @throws Problem 400 that names `field` for any other text */
export function readPosition(text: string, field: string): HandledPosition {
  const [since, until, transaction, eventId] = readCursor(text, positionParts, field);
  return { since, until, transaction, eventId };
}

/** Reads from `event_handled` and `event_log`. */
export function createHandledEventReads(database: Database): HandledEventReads {
  return {
    async takeSnapshot() {
      const [row] = await database.query<{ snapshot: string }>({
        name: 'current-snapshot',
        text: 'SELECT pg_current_snapshot()::text AS snapshot',
      });
      return row!.snapshot;
    },

    async readBehind(position, latest, limit) {
      const settled = position.since === position.until;
      if (settled && position.until === latest) return undefined;
      const from = settled ? { ...placeOf(position.until), until: latest } : position;
      const rows = await database.query<HandledRow>({
        name: 'handled-behind',
        text: behindStatement,
        values: [from.since, from.until, from.transaction, from.eventId, limit],
      });
      const placed = rows.map(({ transaction, ...event }) => ({
        event,
        position: { ...from, transaction, eventId: event.eventId },
      }));
      const last = rows.length < limit ? undefined : placed.at(-1);
      return { events: placed.filter(isLogged), to: last?.position ?? placeOf(from.until) };
    },

    async readLast(latest, limit) {
      const rows = await database.query<HandledRow>({
        name: 'handled-last',
        text: lastStatement,
        values: [latest, limit],
      });
      return rows.map(({ transaction: _, ...event }) => event).reverse();
    },

    async readLastOfType(type, limit) {
      const rows = await database.query<HandledRow>({
        name: 'handled-last-of-type',
        text: lastOfTypeStatement,
        values: [type, limit],
      });
      return rows.map(({ transaction: _, ...event }) => event);
    },
  };
}

interface HandledRow extends HandledEvent {
  readonly transaction: string;
}

// A handled event without a log row breaks an invariant, which `verify` reports; there is nothing to show.
function isLogged({ event }: PlacedEvent): boolean {
  return event.type !== null;
}

const noEventId = '-';

const positionParts = [snapshotPart, snapshotPart, transactionPart, eventIdSchema] as const;

/** What has not begun in a snapshot: from this transaction on. */
function nextOf(snapshot: string): bigint {
  return BigInt(snapshot.split(':')[1] ?? 0);
}

const columns = `
  event_id AS "eventId", type, topic, partition, "offset", aggregate_id AS "aggregateId",
  occurred_at AS "occurredAt", handled_at AS "handledAt", workflow_id AS "workflowId",
  handled_in::text AS transaction`;

// The transactions that the first snapshot did not see: those that had not begun, and those that ran.
const unseenTransactions = [
  'handled_in >= greatest(pg_snapshot_xmax($1::pg_snapshot), $3::xid8)',
  'handled_in = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))',
];

const behindStatement = `
  WITH handled AS (
    ${unseenTransactions
      .map(
        (unseen) => `
    (SELECT * FROM collector.event_handled
      WHERE ${unseen} AND pg_visible_in_snapshot(handled_in, $2::pg_snapshot)
        AND (handled_in, event_id) > ($3::xid8, $4)
      ORDER BY handled_in, event_id LIMIT $5)`,
      )
      .join(' UNION ALL ')}
    ORDER BY handled_in, event_id LIMIT $5
  )
  SELECT ${columns} FROM handled LEFT JOIN collector.event_log USING (event_id)
  ORDER BY handled_in, event_id`;

const lastStatement = `
  WITH handled AS (
    SELECT * FROM collector.event_handled
    WHERE handled_in < pg_snapshot_xmax($1::pg_snapshot)
      AND pg_visible_in_snapshot(handled_in, $1::pg_snapshot)
    ORDER BY handled_in DESC, event_id DESC LIMIT $2
  )
  SELECT ${columns} FROM handled JOIN collector.event_log USING (event_id)
  ORDER BY handled_in DESC, event_id DESC`;

// The log has an index by type; for the handled ones, a rare type would need all of them read.
const lastOfTypeStatement = `
  WITH logged AS (
    SELECT * FROM collector.event_log WHERE type = $1
    ORDER BY recorded_in DESC, event_id DESC LIMIT $2
  )
  SELECT ${columns} FROM logged JOIN collector.event_handled USING (event_id)
  ORDER BY handled_in DESC, event_id DESC`;
