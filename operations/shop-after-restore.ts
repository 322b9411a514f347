/**
 * The shop after a restore: Kafka has events whose changes it lost. What it has told cannot be taken back, so
 * the outbox gets those events again, as published: none is told a second time with other words. The shop's
 * own tables stay as they were restored.
 */
import type { Pool } from 'pg';
import type { EventTopic } from '../events/topics';

/** An event of the shop, as it is in Kafka. */
export interface ToldEvent {
  readonly eventId: string;
  readonly topic: EventTopic;
  readonly partition: number;
  readonly offset: number;
  /** The ID of the aggregate. */
  readonly key: string;
  readonly type: string;
  readonly value: Buffer;
}

/** An order whose last decision that was told is not the one that the shop has. */
export interface LostDecision {
  readonly orderId: string;
  readonly status: string;
  readonly told: 'CONFIRMED' | 'CANCELLED';
}

/** Those that the outbox has lost, each once. */
export async function findLost(pool: Pool, told: readonly ToldEvent[]): Promise<ToldEvent[]> {
  if (told.length === 0) return [];
  const { rows } = await pool.query<{ eventId: string }>(
    `
    SELECT event_id AS "eventId" FROM unnest($1::text[]) AS told (event_id)
    WHERE NOT EXISTS (SELECT FROM commerce.outbox WHERE outbox.event_id = told.event_id)`,
    [told.map(({ eventId }) => eventId)],
  );
  const gone = new Set(rows.map(({ eventId }) => eventId));
  return told.filter(({ eventId }) => gone.delete(eventId));
}

/**
 * Adds events of one partition to the outbox, as published where they are, in their order. What PostgreSQL
 * cannot store as JSON is left out: the shop has not written it.
 */
export async function adopt(pool: Pool, lost: readonly ToldEvent[]): Promise<void> {
  if (lost.length === 0) return;
  await pool.query(
    `
    INSERT INTO commerce.outbox
      (event_id, topic, key, type, payload, published_at, partition, "offset")
    SELECT event_id, topic, key, type, payload, now(), partition, "offset"
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::int[], $7::bigint[])
        AS told (event_id, topic, key, type, value, partition, "offset")
      CROSS JOIN collector.json_of(value) AS payload
    WHERE payload IS NOT NULL ORDER BY "offset"
    ON CONFLICT (event_id) DO NOTHING`,
    [
      lost.map(({ eventId }) => eventId),
      lost.map(({ topic }) => topic),
      lost.map(({ key }) => key),
      lost.map(({ type }) => type),
      lost.map(({ value }) => value),
      lost.map(({ partition }) => partition),
      lost.map(({ offset }) => offset),
    ],
  );
}

/** The orders that the shop has otherwise than it has told of them. */
export async function findLostDecisions(pool: Pool): Promise<LostDecision[]> {
  const { rows } = await pool.query<LostDecision>(`
    WITH decision AS (
      SELECT DISTINCT ON (key) key,
        CASE type WHEN 'OrderConfirmed' THEN 'CONFIRMED' ELSE 'CANCELLED' END AS told
      FROM commerce.outbox WHERE type IN ('OrderConfirmed', 'OrderCancelled')
      ORDER BY key, sequence DESC
    )
    SELECT order_id AS "orderId", status, told FROM commerce.orders JOIN decision ON key = order_id
    WHERE status <> told ORDER BY order_id`);
  return rows;
}
