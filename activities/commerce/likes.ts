/** Likes: a set of users for each product, so liking is idempotent. */
import type { Pool, PoolClient } from 'pg';
import { changeLike, type ChangeLike, type LikeOutcome } from '../../events/commands/change-like';
import { createEvent } from '../../events/envelope';
import { deriveEventId } from '../../events/identifiers';
import { inTransaction } from '../../platform/postgres/pool';
import { refusingBadData } from '../failures';
import { appendToOutbox } from './outbox';
import { rememberingRefusal } from './refusals';

/** Activities of likes. */
export function createLikeActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Adds or removes the user's like, and writes `LikeChanged` with the new count to the outbox; no
     * event if nothing changed. A retry of a request changes nothing more and returns the same, also
     * when the request changed nothing.
     */
    async setLike(command: ChangeLike): Promise<LikeOutcome> {
      return refusingBadData(() =>
        inTransaction(pool, (connection) =>
          rememberingRefusal(
            connection,
            changeLike.workflowId(command),
            (outcome) => !('changed' in outcome && outcome.changed),
            () => set(connection, command),
          ),
        ),
      );
    },
  };
}

interface LikeRow {
  readonly like_count: number;
  readonly like_version: number;
}

async function set(connection: PoolClient, command: ChangeLike): Promise<LikeOutcome> {
  const { productId, userId, liked } = command;
  const product = await lockLikes(connection, productId);
  if (product === undefined) return { kind: 'unknown-product' };
  const kind = liked ? 'liked' : 'not-liked';
  const eventId = deriveEventId(changeLike.workflowId(command), 'LikeChanged', productId);
  const earlier = await countAfterEarlierTry(connection, eventId);
  if (earlier !== undefined) return { kind, likeCount: earlier, changed: true };
  if (!(await changeSet(connection, command))) {
    return { kind, likeCount: product.like_count, changed: false };
  }
  const likeCount = product.like_count + (liked ? 1 : -1);
  const version = product.like_version + 1;
  await connection.query({
    name: 'like-count',
    text: `
      UPDATE commerce.products SET like_count = $2, like_version = $3, updated_at = now()
      WHERE product_id = $1`,
    values: [productId, likeCount, version],
  });
  const data = { productId, userId, liked, likeCount, version };
  await appendToOutbox(connection, [
    createEvent({ id: eventId, type: 'LikeChanged', time: new Date(), data }),
  ]);
  return { kind, likeCount, changed: true };
}

async function lockLikes(connection: PoolClient, productId: string): Promise<LikeRow | undefined> {
  const { rows } = await connection.query<LikeRow>({
    name: 'likes-lock',
    text: `
      SELECT like_count, like_version FROM commerce.products
      WHERE product_id = $1 FOR NO KEY UPDATE`,
    values: [productId],
  });
  return rows[0];
}

/** The outbox records what a request did: the like itself may have changed since. */
async function countAfterEarlierTry(
  connection: PoolClient,
  eventId: string,
): Promise<number | undefined> {
  const { rows } = await connection.query<{ likeCount: number }>({
    name: 'like-find',
    text: `
      SELECT (payload -> 'data' -> 'likeCount')::bigint AS "likeCount"
      FROM commerce.outbox WHERE event_id = $1`,
    values: [eventId],
  });
  return rows[0]?.likeCount;
}

/** Whether the set of users has changed. */
async function changeSet(
  connection: PoolClient,
  { productId, userId, liked }: ChangeLike,
): Promise<boolean> {
  const { rowCount } = await connection.query(
    liked
      ? {
          name: 'like-insert',
          text: `
            INSERT INTO commerce.product_likes (product_id, user_id) VALUES ($1, $2)
            ON CONFLICT DO NOTHING`,
          values: [productId, userId],
        }
      : {
          name: 'like-delete',
          text: 'DELETE FROM commerce.product_likes WHERE product_id = $1 AND user_id = $2',
          values: [productId, userId],
        },
  );
  return rowCount === 1;
}
