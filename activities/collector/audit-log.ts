/** The audit log: every accepted event, once, written before any effect. */
import { ApplicationFailure } from '@temporalio/common';
import type { Pool } from 'pg';
import type { Event } from '../../events/envelope';
import { readEventTime } from '../../events/event-time';
import { placeOf, type Coordinates, type ReceivedEvent } from '../../events/received';
import { dataRefused, refusingBadData } from '../failures';
import { productsToEvict } from './cache-eviction';

/** An event that differs from the logged one of the same ID. */
export interface EventIdConflict extends Coordinates {
  readonly eventId: string;
  /** Its source, truncated if long. */
  readonly source: string;
  /** The logged event with the ID. */
  readonly logged: Coordinates & { readonly source: string };
}

/** A delivery of an event that is logged from another place. */
export interface Redelivery extends Coordinates {
  readonly eventId: string;
}

/** What logging came to. The events are passed on from here by what the other activities need. */
export interface LoggedEvents {
  /** The IDs of those that are logged, now or before. */
  readonly eventIds: readonly string[];
  /**
   * The products whose cached detail they make stale, each once; null where this version cannot tell, as
   * of a newer version's event: the eviction then reads the events, and waits for a worker that can.
   */
  readonly staleProducts: readonly string[] | null;
  /** The events that are not logged, because another event has their ID. */
  readonly conflicts: readonly EventIdConflict[];
  /** Those that are logged from another place than the one where they were delivered; left out if there are none. */
  readonly elsewhere?: readonly Redelivery[];
}

export function createAuditLogActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Logs the events; idempotent. One statement while all are new, and a second one to compare when
     * some are not.
     *
     * @returns the same for a retry; an event with the same content as the logged one is a duplicate,
     *   and in no conflict
     */
    async writeAuditLog(received: readonly ReceivedEvent[]): Promise<LoggedEvents> {
      const events = received.map(parseReceived);
      return refusingBadData(async () => {
        const { rowCount } = await pool.query({
          name: 'event-log-insert',
          text: insertStatement,
          values: [...columnsOf(received), events.map(({ occurredAt }) => occurredAt)],
        });
        const { conflicts, elsewhere } =
          rowCount === received.length ? allNew : await compare(pool, received);
        const logged = loggedOf(events, conflicts);
        return { ...logged, conflicts, ...(elsewhere.length === 0 ? {} : { elsewhere }) };
      });
    },
  };
}

interface ParsedEvent extends Coordinates {
  readonly event: Event;
  /** As PostgreSQL reads it. */
  readonly occurredAt: string;
}

// The time is parsed here, not by PostgreSQL: it rejects UTC offsets of 16 hours and more and long
// fractions, which RFC 3339 allows, and its rounding can move an event to another day.
function parseReceived({ topic, partition, offset, eventId, value }: ReceivedEvent): ParsedEvent {
  const event = JSON.parse(value) as Event;
  const instant = readEventTime(event.time);
  if (instant !== undefined) {
    return { topic, partition, offset, event, occurredAt: instant.toISOString() };
  }
  // The bridge parks such events. A workflow older than a validation rule may have one.
  throw ApplicationFailure.create({
    type: dataRefused,
    message: `The event ${eventId} has an invalid time: ${event.time}`,
    nonRetryable: true,
  });
}

function loggedOf(
  events: readonly ParsedEvent[],
  conflicts: readonly EventIdConflict[],
): Pick<LoggedEvents, 'eventIds' | 'staleProducts'> {
  const inConflict = new Set(conflicts.map(placeOf));
  const logged = events.filter((event) => !inConflict.has(placeOf(event)));
  return {
    eventIds: logged.map(({ event }) => event.id),
    staleProducts: staleProductsOf(logged.map(({ event }) => event)),
  };
}

// Whatever fails here fails again where it holds up nothing but the eviction.
function staleProductsOf(events: readonly Event[]): string[] | null {
  try {
    return productsToEvict(events);
  } catch {
    return null;
  }
}

/** What comparing the events with the log came to. */
type Comparison = Required<Pick<LoggedEvents, 'conflicts' | 'elsewhere'>>;

const allNew: Comparison = { conflicts: [], elsewhere: [] };

// A separate statement: the insert's snapshot does not see what another transaction logged while the
// insert waited. Not prepared, so that it is planned again while the log grows.
async function compare(pool: Pool, events: readonly ReceivedEvent[]): Promise<Comparison> {
  const { rows } = await pool.query<DifferenceRow>({
    text: differenceStatement,
    values: columnsOf(events),
  });
  return {
    conflicts: rows.filter(({ isOther }) => isOther).map(toConflict),
    elsewhere: rows
      .filter(({ isOther }) => !isOther)
      .map(({ eventId, topic, partition, offset }) => ({ eventId, topic, partition, offset })),
  };
}

function toConflict(row: DifferenceRow): EventIdConflict {
  const { eventId, topic, partition, offset, source } = row;
  const logged = {
    topic: row.loggedTopic,
    partition: row.loggedPartition,
    offset: row.loggedOffset,
    source: row.loggedSource,
  };
  return { eventId, topic, partition, offset, source, logged };
}

interface DifferenceRow extends Omit<EventIdConflict, 'logged'> {
  /** Whether it is another event than the logged one; otherwise the same, at another place. */
  readonly isOther: boolean;
  readonly loggedTopic: string;
  readonly loggedPartition: number;
  readonly loggedOffset: number;
  readonly loggedSource: string;
}

/** The events as one JSON text: an array of texts would be escaped here and read twice there. */
function columnsOf(events: readonly ReceivedEvent[]): unknown[] {
  return [
    `[${events.map(({ value }) => value).join(',')}]`,
    events.map(({ topic }) => topic),
    events.map(({ partition }) => partition),
    events.map(({ offset }) => offset),
  ];
}

// Ordered by ID, so that two statements with events in common cannot deadlock. Of two with one ID the
// first is logged.
const insertStatement = `
  INSERT INTO collector.event_log
    (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, payload)
  SELECT event ->> 'id', event ->> 'type', topic, partition, "offset", event ->> 'subject',
    occurred_at, event
  FROM ROWS FROM (
    jsonb_array_elements($1::jsonb),
    unnest($2::text[], $3::int[], $4::bigint[], $5::timestamptz[])
  ) WITH ORDINALITY AS received (event, topic, partition, "offset", occurred_at, position)
  ORDER BY 1, position
  ON CONFLICT (event_id) DO NOTHING`;

// As jsonb, so that key order and number format make no difference. One event at a time (LATERAL …
// OFFSET 0), so that the log is only read by its key.
const differenceStatement = `
  SELECT given.event ->> 'id' AS "eventId", given.topic, given.partition, given."offset",
    logged.payload <> given.event AS "isOther",
    left(given.event ->> 'source', 200) AS source,
    logged.topic AS "loggedTopic", logged.partition AS "loggedPartition",
    logged."offset" AS "loggedOffset", left(logged.payload ->> 'source', 200) AS "loggedSource"
  FROM ROWS FROM (
    jsonb_array_elements($1::jsonb),
    unnest($2::text[], $3::int[], $4::bigint[])
  ) AS given (event, topic, partition, "offset")
  CROSS JOIN LATERAL (
    SELECT * FROM collector.event_log WHERE event_id = given.event ->> 'id' OFFSET 0
  ) AS logged
  WHERE logged.payload <> given.event
    OR (logged.topic, logged.partition, logged."offset")
      <> (given.topic, given.partition, given."offset")`;
