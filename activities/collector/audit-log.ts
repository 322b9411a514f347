/** The audit log: every accepted event, once, written before any effect. */
import { ApplicationFailure } from '@temporalio/common';
import type { Pool } from 'pg';
import type { Event } from '../../events/envelope';
import { readEventTime } from '../../events/event-time';
import type { Coordinates, ReceivedEvent } from '../../events/received';
import { dataRefused, refusingBadData } from '../failures';

/** An event that differs from the logged one of the same ID. */
export interface EventIdConflict extends Coordinates {
  readonly eventId: string;
  /** Its source, truncated if long. */
  readonly source: string;
  /** The logged event with the ID. */
  readonly logged: Coordinates & { readonly source: string };
}

export function createAuditLogActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Logs the events; idempotent. One statement while all are new, and a second one to compare when
     * some are not.
     *
     * @returns the events that are not logged because another event has their ID. A retry returns the
     *   same; an event with the same content as the logged one is a duplicate, and not among them
     */
    async writeAuditLog(events: readonly ReceivedEvent[]): Promise<readonly EventIdConflict[]> {
      return refusingBadData(async () => {
        const { rowCount } = await pool.query({
          name: 'event-log-insert',
          text: insertStatement,
          values: [...columnsOf(events), events.map(occurredAt)],
        });
        return rowCount === events.length ? [] : findConflicts(pool, events);
      });
    },
  };
}

// A separate statement: the insert's snapshot does not see what another transaction logged while the
// insert waited. Not prepared, so that it is planned again while the log grows.
async function findConflicts(
  pool: Pool,
  events: readonly ReceivedEvent[],
): Promise<EventIdConflict[]> {
  const { rows } = await pool.query<ConflictRow>({
    text: conflictStatement,
    values: columnsOf(events),
  });
  return rows.map(({ loggedTopic, loggedPartition, loggedOffset, loggedSource, ...conflict }) => ({
    ...conflict,
    logged: {
      topic: loggedTopic,
      partition: loggedPartition,
      offset: loggedOffset,
      source: loggedSource,
    },
  }));
}

interface ConflictRow extends Omit<EventIdConflict, 'logged'> {
  readonly loggedTopic: string;
  readonly loggedPartition: number;
  readonly loggedOffset: number;
  readonly loggedSource: string;
}

function columnsOf(events: readonly ReceivedEvent[]): unknown[] {
  return [
    events.map(({ value }) => value),
    events.map(({ topic }) => topic),
    events.map(({ partition }) => partition),
    events.map(({ offset }) => offset),
  ];
}

// Parsed here, not by PostgreSQL: it rejects UTC offsets of 16 hours and more and long fractions, which
// RFC 3339 allows, and its rounding can move an event to another day.
function occurredAt({ eventId, value }: ReceivedEvent): string {
  const { time } = JSON.parse(value) as Event;
  const instant = readEventTime(time);
  if (instant !== undefined) return instant.toISOString();
  // The bridge parks such events. A workflow older than a validation rule may have one.
  throw ApplicationFailure.create({
    type: dataRefused,
    message: `The event ${eventId} has an invalid time: ${time}`,
    nonRetryable: true,
  });
}

// Ordered by ID, so that two statements with events in common cannot deadlock. Of two with one ID the
// first is logged.
const insertStatement = `
  INSERT INTO collector.event_log
    (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, payload)
  SELECT event ->> 'id', event ->> 'type', topic, partition, "offset", event ->> 'subject',
    occurred_at, event
  FROM unnest($1::jsonb[], $2::text[], $3::int[], $4::bigint[], $5::timestamptz[]) WITH ORDINALITY
    AS received (event, topic, partition, "offset", occurred_at, position)
  ORDER BY 1, position
  ON CONFLICT (event_id) DO NOTHING`;

// As jsonb, so that key order and number format make no difference. One event at a time (LATERAL …
// OFFSET 0), so that the log is only read by its key.
const conflictStatement = `
  SELECT given.event ->> 'id' AS "eventId", given.topic, given.partition, given."offset",
    left(given.event ->> 'source', 200) AS source,
    logged.topic AS "loggedTopic", logged.partition AS "loggedPartition",
    logged."offset" AS "loggedOffset", left(logged.payload ->> 'source', 200) AS "loggedSource"
  FROM unnest($1::jsonb[], $2::text[], $3::int[], $4::bigint[])
    AS given (event, topic, partition, "offset")
  CROSS JOIN LATERAL (
    SELECT * FROM collector.event_log WHERE event_id = given.event ->> 'id' OFFSET 0
  ) AS logged
  WHERE logged.payload <> given.event`;
