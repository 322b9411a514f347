/** The audit log: every accepted event, once, before anything else happens with it. */
import { ApplicationFailure } from '@temporalio/common';
import type { Pool } from 'pg';
import type { Event } from '../events/envelope';
import { readEventTime } from '../events/event-time';
import type { ReceivedEvent } from '../events/received';
import { dataRefused, refusingBadData } from './failures';

/** The activities of the audit log. */
export function createAuditLogActivities({ pool }: { readonly pool: Pool }) {
  return {
    /** Logs the events in one statement; those that are logged already are left as they are. */
    async writeAuditLog(events: readonly ReceivedEvent[]): Promise<void> {
      await refusingBadData(() =>
        pool.query({
          name: 'event-log-insert',
          text: insertStatement,
          values: [
            events.map(({ value }) => value),
            events.map(({ topic }) => topic),
            events.map(({ partition }) => partition),
            events.map(({ offset }) => offset),
            events.map(occurredAt),
          ],
        }),
      );
    },
  };
}

// Read here, not by PostgreSQL: it refuses offsets from UTC of 16 hours and more and long fractions,
// which RFC 3339 allows, and rounds where a rounded second can be on another day.
function occurredAt({ eventId, value }: ReceivedEvent): string {
  const { time } = JSON.parse(value) as Event;
  const instant = readEventTime(time);
  if (instant !== undefined) return instant.toISOString();
  // The bridge lets none through. A workflow that is older than a rule may carry one.
  throw ApplicationFailure.create({
    type: dataRefused,
    message: `The time of the event ${eventId} is none: ${time}`,
    nonRetryable: true,
  });
}

// In the order of the IDs, so that two statements with events in common cannot lock each other out.
const insertStatement = `
  INSERT INTO collector.event_log
    (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, payload)
  SELECT event ->> 'id', event ->> 'type', topic, partition, "offset", event ->> 'subject',
    occurred_at, event
  FROM unnest($1::jsonb[], $2::text[], $3::int[], $4::bigint[], $5::timestamptz[])
    AS received (event, topic, partition, "offset", occurred_at)
  ORDER BY 1
  ON CONFLICT (event_id) DO NOTHING`;
