/** Saves all tables at one moment, as a logical backup does, and restores them. */
import type { Pool, PoolClient } from 'pg';
import { inTransaction, type Queryable } from '../platform/postgres/pool';

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
        for (const { schema, name, columns } of tables) {
          await connection.query(
            `INSERT INTO ${schema}.${name} (${columns}) OVERRIDING SYSTEM VALUE
             SELECT ${columns} FROM saved.${schema}_${name}`,
          );
        }
        await advanceTransactionIds(connection, transactionsAhead);
      }),
  };
}

/** Moves the transaction IDs of all rows ahead, to where those of another server may have been. */
export async function advanceTransactionIds(database: Queryable, by: number): Promise<void> {
  for (const [table, column] of [
    ['event_log', 'recorded_in'],
    ['event_handled', 'handled_in'],
  ]) {
    await database.query(
      `UPDATE collector.${table} SET ${column} = (${column}::text::bigint + $1)::text::xid8`,
      [by],
    );
  }
}

interface Table {
  readonly schema: string;
  readonly name: string;
  /** All but those that PostgreSQL generates from the others. */
  readonly columns: string;
}

async function listTables(connection: PoolClient): Promise<Table[]> {
  const { rows } = await connection.query<Table>(`
    SELECT table_schema AS schema, table_name AS name, string_agg(quote_ident(column_name), ', ') AS columns
    FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema IN ('commerce', 'collector') AND table_type = 'BASE TABLE' AND is_generated = 'NEVER'
    GROUP BY table_schema, table_name`);
  return rows;
}
