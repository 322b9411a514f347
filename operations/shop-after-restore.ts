/**
 * The shop after a restore: Kafka has events whose changes it lost. What it has told cannot be taken back, so
 * the outbox gets those events again, as published: none is told a second time with other words. The shop's
 * own tables stay as they were restored, and it tells anew, in versions above all that it has told, what they
 * hold.
 */
import type { Pool, PoolClient } from 'pg';
import { createEvent, toMessage, type Event } from '../events/envelope';
import { deriveEventId } from '../events/identifiers';
import type { EventType } from '../events/schemas';
import type { EventTopic } from '../events/topics';
import { inTransaction } from '../platform/postgres/pool';

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

/** The products, by ID, of which the shop has told anew what it holds. */
export interface ToldAnew {
  readonly stock: readonly string[];
  readonly likes: readonly string[];
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
 * Adds events of one partition to the outbox, as published where they are, in their order, and as adopted: they
 * are no sign that their changes were made here. What PostgreSQL cannot store as JSON is left out: the shop has
 * not written it.
 */
export async function adopt(pool: Pool, lost: readonly ToldEvent[]): Promise<void> {
  if (lost.length === 0) return;
  await pool.query(
    `
    INSERT INTO commerce.outbox
      (event_id, topic, key, type, payload, published_at, partition, "offset", adopted_at)
    SELECT event_id, topic, key, type, payload, now(), partition, "offset", now()
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

/**
 * Adds events to the outbox that say what the shop holds, where it has told something else: a `StockAdjusted`
 * by 0 for a product, a `LikeChanged` for a user whose like or unlike it lost. The delivery audit publishes
 * them, or the next change of the product. Idempotent, as long as no worker runs.
 */
export function tellAnew(pool: Pool): Promise<ToldAnew> {
  return inTransaction(pool, async (connection) => {
    await connection.query(`
      SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
      LOCK TABLE commerce.products IN SHARE ROW EXCLUSIVE MODE`);
    return { stock: await tellStock(connection), likes: await tellLikes(connection) };
  });
}

async function tellStock(connection: PoolClient): Promise<string[]> {
  const { rows } = await connection.query<{
    productId: string;
    stock: number;
    version: number;
    toldId: string;
  }>(`
    WITH told AS (
      SELECT DISTINCT ON (key) key, event_id, (payload #>> '{data,version}')::numeric AS version,
        (payload #>> '{data,stock}')::numeric AS stock
      FROM commerce.outbox WHERE type = 'StockAdjusted' ORDER BY key, version DESC, sequence DESC
    )
    SELECT product_id AS "productId", products.stock, (told.version + 1)::bigint AS version,
      event_id AS "toldId"
    FROM commerce.products JOIN told ON key = product_id
    WHERE told.version > stock_version OR told.version = stock_version AND told.stock <> products.stock
    ORDER BY product_id`);
  const events = rows.map(({ productId, stock, version, toldId }) =>
    createEvent({
      id: idAfterRestore(toldId, 'StockAdjusted', version),
      type: 'StockAdjusted',
      time: new Date(),
      data: { productId, delta: 0, stock, previousStock: stock, reason: 'correction', version },
    }),
  );
  await append(connection, events);
  await connection.query(
    `
    WITH adjusted AS (
      INSERT INTO commerce.stock_adjustments
        (adjustment_id, product_id, delta, previous_stock, stock, version, reason, event_id)
      SELECT 'after-restore/' || event_id, product_id, 0, stock, stock, version, 'correction', event_id
      FROM unnest($1::text[], $2::text[], $3::bigint[]) AS event (event_id, product_id, version)
        JOIN commerce.products USING (product_id)
      RETURNING product_id, version
    )
    UPDATE commerce.products SET stock_version = version, updated_at = now()
    FROM adjusted WHERE products.product_id = adjusted.product_id`,
    [
      events.map(({ id }) => id),
      events.map(({ subject }) => subject),
      events.map(({ data }) => data.version),
    ],
  );
  return events.map(({ subject }) => subject);
}

// Who likes what is a set: of each user the last that was told decides what is to be told now.
async function tellLikes(connection: PoolClient): Promise<string[]> {
  const { rows } = await connection.query<{
    productId: string;
    userId: string;
    liked: boolean;
    likeCount: number;
    version: number;
    toldId: string;
  }>(`
    WITH told AS (
      SELECT DISTINCT ON (key, user_id) key, payload #>> '{data,userId}' AS user_id, event_id,
        (payload #>> '{data,liked}')::boolean AS liked,
        (payload #>> '{data,version}')::numeric AS version
      FROM commerce.outbox WHERE type = 'LikeChanged'
      ORDER BY key, user_id, version DESC, sequence DESC
    ), last AS (
      SELECT key, max(version) AS version FROM told GROUP BY key
    )
    SELECT product_id AS "productId", user_id AS "userId", NOT liked AS liked,
      like_count AS "likeCount", event_id AS "toldId",
      greatest(like_version, last.version)::bigint
        + row_number() OVER (PARTITION BY product_id ORDER BY user_id) AS version
    FROM commerce.products JOIN last ON last.key = product_id JOIN told ON told.key = product_id
    WHERE liked <> EXISTS (
      SELECT FROM commerce.product_likes AS likes
      WHERE likes.product_id = products.product_id AND likes.user_id = told.user_id)
    ORDER BY product_id, version`);
  const events = rows.map(({ toldId, ...data }) =>
    createEvent({
      id: idAfterRestore(toldId, 'LikeChanged', data.version),
      type: 'LikeChanged',
      time: new Date(),
      data,
    }),
  );
  await append(connection, events);
  // Also of those whose lost likes were taken back before: what comes next is to be newer.
  await connection.query(`
    UPDATE commerce.products SET like_version = told.version, updated_at = now()
    FROM (
      SELECT key, max((payload #>> '{data,version}')::numeric) AS version
      FROM commerce.outbox WHERE type = 'LikeChanged' GROUP BY key
    ) AS told WHERE key = product_id AND told.version > like_version`);
  return [...new Set(events.map(({ subject }) => subject))];
}

/** Not one that a lost change is told under when it is made again. */
function idAfterRestore(toldId: string, type: EventType, version: number): string {
  return deriveEventId(toldId, type, `after-restore/${version}`);
}

async function append(connection: PoolClient, events: readonly Event[]): Promise<void> {
  const messages = events.map(toMessage);
  await connection.query(
    `
    INSERT INTO commerce.outbox (event_id, topic, key, type, payload)
    SELECT payload ->> 'id', topic, key, payload ->> 'type', payload
    FROM unnest($1::text[], $2::text[], $3::jsonb[]) WITH ORDINALITY
      AS message (topic, key, payload, position)
    ORDER BY position`,
    [
      messages.map(({ topic }) => topic),
      messages.map(({ key }) => key),
      messages.map(({ value }) => value),
    ],
  );
}
