/** Likes: a set of users for each product, so liking is idempotent. */
import type { Pool, PoolClient } from 'pg';
import { changeLike, type ChangeLike, type LikeOutcome } from '../../events/commands/change-like';
import { createEvent } from '../../events/envelope';
import { deriveEventId } from '../../events/identifiers';
import { inTransaction } from '../../platform/postgres/pool';
import { refusingBadData } from '../failures';
import { appendToOutbox, idAfterLoss } from './outbox';
import { rememberingRefusal } from './refusals';

/** Activities of likes. */
export function createLikeActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Adds or removes the user's like, and writes `LikeChanged` with the new count to the outbox; no
     * event if nothing changed. A retry of a request changes nothing more and returns the same, also
     * when the request changed nothing. A request whose change a restore has lost is decided anew.
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
  const firstId = deriveEventId(changeLike.workflowId(command), 'LikeChanged', productId);
  const { eventId, countAfter } = await findEarlierTry(connection, firstId, productId);
  if (countAfter !== undefined) return { kind, likeCount: countAfter, changed: true };
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

/** The event of a request, and the count after it, if an earlier try has made the change. */
interface Try {
  readonly eventId: string;
  readonly countAfter?: number;
}

/**
 * The outbox records what a request did: the like itself may have changed since. An adopted event records what a
 * restore has lost, and the request is told under the ID that follows.
 */
async function findEarlierTry(
  connection: PoolClient,
  eventId: string,
  productId: string,
): Promise<Try> {
  const { rows } = await connection.query<{ likeCount: number; isAdopted: boolean }>({
    name: 'like-find',
    text: `
      SELECT (payload -> 'data' -> 'likeCount')::bigint AS "likeCount",
        adopted_at IS NOT NULL AS "isAdopted"
      FROM commerce.outbox WHERE event_id = $1`,
    values: [eventId],
  });
  const found = rows[0];
  if (found === undefined) return { eventId };
  if (!found.isAdopted) return { eventId, countAfter: found.likeCount };
  return findEarlierTry(connection, idAfterLoss(eventId, 'LikeChanged', productId), productId);
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
