/** Reading and writing PostgreSQL for a request: an outage becomes an answer that says so. */
import { DatabaseError, type Pool, type QueryConfig } from 'pg';
import type { Queryable } from '../../platform/postgres/pool';
import { Problem } from './problem';

/** Runs single statements. */
export interface Database {
  /**
   * The rows that a statement returns.
   *
   * @throws DatabaseUnavailableError when PostgreSQL cannot be reached or cannot work now
   */
  query<Row extends object>(statement: QueryConfig): Promise<Row[]>;
}

/** PostgreSQL is away, overloaded or restarting. A later try can help. */
class DatabaseUnavailableError extends Problem {
  override readonly name = 'DatabaseUnavailableError';

  constructor(cause: unknown) {
    super('DATABASE_UNAVAILABLE', { cause });
  }
}

/** Statements on a pool. */
export function createDatabase(pool: Pool): Database {
  return {
    async query<Row extends object>(statement: QueryConfig): Promise<Row[]> {
      try {
        const { rows } = await pool.query<Row>(statement);
        return rows;
      } catch (error) {
        throw isOutage(error) ? new DatabaseUnavailableError(error) : error;
      }
    },
  };
}

/** The database for code that is not the API's: its outages too become answers that say so. */
export function asQueryable(database: Database): Queryable {
  const query = async (statement: QueryConfig) => ({ rows: await database.query(statement) });
  // The driver's own type has every way that it can be called in; statements by name are one.
  return { query } as unknown as Queryable;
}

// SQLSTATE classes 08 connection, 53 resources, 57 operator's intervention. What has no SQLSTATE
// did not come from PostgreSQL but from the way to it; a RangeError came from reading its answer.
// https://www.postgresql.org/docs/18/errcodes-appendix.html
function isOutage(error: unknown): boolean {
  if (error instanceof DatabaseError) return /^(08|53|57)/.test(error.code ?? '');
  return !(error instanceof RangeError || error instanceof TypeError);
}
