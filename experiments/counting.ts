/** Ways to count a view once, which differ in where they record that it was counted. */
import type { Pool } from 'pg';
import type { RedisConnection } from '../platform/redis/client';

export interface Stores {
  readonly pool: Pool;
  readonly redis: RedisConnection;
}

/** Counts a view unless it was counted. `betweenSteps` marks the worst moment for a crash. */
export type Count = (stores: Stores, eventId: string, betweenSteps: () => void) => Promise<void>;

/** By name. */
export const waysToCount = {
  'PostgreSQL, in the transaction of the effect': async ({ pool }, eventId, betweenSteps) => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      const inserted = await client.query({
        name: 'handled',
        text: 'INSERT INTO handled VALUES ($1) ON CONFLICT DO NOTHING',
        values: [eventId],
      });
      betweenSteps();
      if (inserted.rowCount === 1) await client.query(add);
      await client.query('COMMIT');
    } finally {
      client.release();
    }
  },

  'PostgreSQL, in one statement with the effect': async ({ pool }, eventId, betweenSteps) => {
    betweenSteps();
    await pool.query({
      name: 'handle',
      text: `WITH new AS (INSERT INTO handled VALUES ($1) ON CONFLICT DO NOTHING RETURNING 1)
        UPDATE counter SET views = views + (SELECT count(*) FROM new)`,
      values: [eventId],
    });
  },

  'Redis, before the effect': async ({ pool, redis }, eventId, betweenSteps) => {
    if ((await redis.set(`handled:${eventId}`, '1', 'EX', 86_400, 'NX')) === null) return;
    betweenSteps();
    await pool.query(add);
  },

  'Redis, after the effect': async ({ pool, redis }, eventId, betweenSteps) => {
    if ((await redis.exists(`handled:${eventId}`)) === 1) return;
    await pool.query(add);
    betweenSteps();
    await redis.set(`handled:${eventId}`, '1', 'EX', 86_400);
  },
} satisfies Record<string, Count>;

/** The name of a way. */
export type WayToCount = keyof typeof waysToCount;

const add = { name: 'add', text: 'UPDATE counter SET views = views + 1' };

/** Creates the counting tables, empty. */
export async function makeCounter({ pool, redis }: Stores): Promise<void> {
  await redis.flushall();
  await pool.query(`
    DROP TABLE IF EXISTS handled, counter;
    CREATE TABLE handled (event_id text PRIMARY KEY);
    CREATE TABLE counter (views integer NOT NULL);
    INSERT INTO counter VALUES (0)`);
}

/** What is counted. */
export async function readCounter({ pool }: Stores): Promise<number> {
  const { rows } = await pool.query<{ views: number }>('SELECT views FROM counter');
  return rows[0]!.views;
}
