/** Saves all tables at one moment, as a logical backup does, and restores them. */
import type { Pool, PoolClient } from 'pg';
import { inTransaction } from '../platform/postgres/pool';

/** Tables as they were at one moment. */
export interface SavedTables {
  /**
   * Puts the tables back.
   *
   * @param transactionsAhead by how much the server that they come from had counted further
   */
  restore(transactionsAhead: number): Promise<void>;
}

/** Saves the tables in one snapshot, whatever is written meanwhile. */
export async function saveTables(pool: Pool): Promise<SavedTables> {
  const tables = await inTransaction(pool, async (connection) => {
    await connection.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    await connection.query('CREATE SCHEMA saved');
    const names = await listTables(connection);
    for (const { schema, name } of names) {
      await connection.query(
        `CREATE TABLE saved.${schema}_${name} AS SELECT * FROM ${schema}.${name}`,
      );
    }
    return names;
  });
  return {
    restore: (transactionsAhead) =>
      inTransaction(pool, async (connection) => {
        // As a restore does: rows first, what ties them together afterwards.
        await connection.query('SET LOCAL session_replication_role = replica');
        const all = tables.map(({ schema, name }) => `${schema}.${name}`).join(', ');
        await connection.query(`TRUNCATE ${all}`);
        for (const { schema, name } of tables) {
          await connection.query(
            `INSERT INTO ${schema}.${name} OVERRIDING SYSTEM VALUE SELECT * FROM saved.${schema}_${name}`,
          );
        }
        for (const [table, column] of [
          ['event_log', 'recorded_in'],
          ['event_handled', 'handled_in'],
        ]) {
          await connection.query(
            `UPDATE collector.${table} SET ${column} = (${column}::text::bigint + $1)::text::xid8`,
            [transactionsAhead],
          );
        }
      }),
  };
}

async function listTables(
  connection: PoolClient,
): Promise<{ readonly schema: string; readonly name: string }[]> {
  const { rows } = await connection.query<{ schema: string; name: string }>(`
    SELECT schemaname AS schema, tablename AS name FROM pg_tables
    WHERE schemaname IN ('commerce', 'collector')`);
  return rows;
}
