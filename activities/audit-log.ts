/** The audit log: every accepted event, once, before anything else happens with it. */
import type { Pool } from 'pg';
import type { ReceivedEvent } from '../events/received';
import { refusingBadData } from './failures';

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
          ],
        }),
      );
    },
  };
}

// In the order of the IDs, so that two statements with events in common cannot lock each other out.
const insertStatement = `
  INSERT INTO collector.event_log
    (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, payload)
  SELECT event ->> 'id', event ->> 'type', topic, partition, "offset", event ->> 'subject',
    (event ->> 'time')::timestamptz, event
  FROM unnest($1::jsonb[], $2::text[], $3::int[], $4::bigint[])
    AS received (event, topic, partition, "offset")
  ORDER BY 1
  ON CONFLICT (event_id) DO NOTHING`;
