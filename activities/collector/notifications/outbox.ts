/**
 * The outbox of notifications: the table `collector.notifications`. A row is written by the statement
 * that marks its event as handled, so there is never one without the other.
 */
import type { Queryable } from '../../../platform/postgres/pool';
import type { Recording } from '../../../projections/statements';
import type { Notification } from './notification';

/** A notification that is to be delivered. */
export interface DueNotification {
  readonly name: string;
  readonly eventId: string;
}

/**
 * Records the notifications that newly handled events are due, as a part of the live update; the
 * column `due` has their names.
 */
export function recordDue(subscribed: readonly Notification[]): Recording {
  if (subscribed.length === 0) return { expression: '', column: `'{}'::text[] AS due` };
  const conditions = subscribed.map(
    // A condition sees no event of another type: it could not be evaluated there.
    ({ name, event, isDue }) => `('${name}', CASE type WHEN '${event}' THEN ${isDue} END)`,
  );
  return {
    expression: `,
  notified AS (
    INSERT INTO collector.notifications (event_id, name)
    SELECT event_id, notification.name FROM event
    CROSS JOIN LATERAL (VALUES ${conditions.join(', ')}) AS notification (name, is_due)
    WHERE is_due ORDER BY event_id, name
    ON CONFLICT (event_id, name) DO NOTHING
    RETURNING event_id, name
  )`,
    column: `ARRAY(
    SELECT name FROM notified WHERE notified.event_id = event.event_id ORDER BY name
  ) AS due`,
  };
}

/**
 * What is still to be delivered of events that have come again: pending, or refused before, since a
 * redrive of the dead letter is how an event with a refused notification comes again.
 */
export async function recallDue(
  database: Queryable,
  eventIds: readonly string[],
): Promise<DueNotification[]> {
  const { rows } = await database.query<DueNotification>({
    // Not prepared, so that it is planned again while the table grows. In the order of the key, so that
    // two of these statements wait for each other instead of deadlocking.
    text: `
      /* notifications-recall */ WITH undelivered AS (
        SELECT event_id, name FROM collector.notifications
        WHERE event_id = ANY($1) AND status <> 'delivered'
        ORDER BY event_id, name FOR UPDATE
      )
      UPDATE collector.notifications AS notification SET status = 'pending', detail = NULL
      FROM undelivered
      WHERE notification.event_id = undelivered.event_id AND notification.name = undelivered.name
      RETURNING notification.name, notification.event_id AS "eventId"`,
    values: [eventIds],
  });
  return rows;
}

/** Whether a notification still is to be delivered. */
export async function isPending(
  database: Queryable,
  { name, eventId }: DueNotification,
): Promise<boolean> {
  const { rowCount } = await database.query({
    name: 'notification-pending',
    text: `
      SELECT FROM collector.notifications
      WHERE event_id = $1 AND name = $2 AND status = 'pending'`,
    values: [eventId, name],
  });
  return rowCount === 1;
}

/** Notes that the receiver has taken a notification. Idempotent. */
export async function markDelivered(
  database: Queryable,
  { name, eventId }: DueNotification,
): Promise<void> {
  await database.query({
    name: 'notification-delivered',
    text: `
      UPDATE collector.notifications
      SET status = 'delivered', detail = NULL, delivered_at = now()
      WHERE event_id = $1 AND name = $2 AND status <> 'delivered'`,
    values: [eventId, name],
  });
}

/** Notes that the receiver has refused a notification for good. Idempotent. */
export async function markRefused(
  database: Queryable,
  { name, eventId }: DueNotification,
  detail: string,
): Promise<void> {
  await database.query({
    name: 'notification-refused',
    text: `
      UPDATE collector.notifications SET status = 'refused', detail = $3
      WHERE event_id = $1 AND name = $2 AND status = 'pending'`,
    values: [eventId, name, detail],
  });
}
