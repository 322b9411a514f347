/** PostgreSQL for requests: an outage becomes a 503. */
import { DatabaseError, type Pool, type QueryConfig } from 'pg';
import { isConnectionLost, type Queryable } from '../../platform/postgres/pool';
import { Problem } from './problem';

/** Runs single statements. */
export interface Database {
  /**
   * The rows that a statement returns.
   *
   * @throws DatabaseUnavailableError when PostgreSQL is unavailable
   */
  query<Row extends object>(statement: QueryConfig): Promise<Row[]>;
}

/** PostgreSQL is unavailable, overloaded, restarting, or read-only since a failover. A retry can succeed. */
class DatabaseUnavailableError extends Problem {
  override readonly name = 'DatabaseUnavailableError';

  constructor(cause: unknown) {
    super('DATABASE_UNAVAILABLE', { cause, ...(isTimeout(cause) ? { detail: slow } : {}) });
  }
}

const slow = 'PostgreSQL is slow: a statement was ended before it could answer. Retry.';

/** Whether PostgreSQL answers, but ended a statement since it took too long: SQLSTATE query_canceled. */
function isTimeout(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '57014';
}

/** Whether a statement failed since it took too long on a server that answers. */
export function isDatabaseSlow(error: unknown): boolean {
  return error instanceof DatabaseUnavailableError && isTimeout(error.cause);
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

/** The database for code of other rooms; its outages become a 503 too. */
export function asQueryable(database: Database): Queryable {
  const query = async (statement: QueryConfig) => ({ rows: await database.query(statement) });
  // The driver's own type has every way that it can be called in; statements by name are one.
  return { query } as unknown as Queryable;
}

// Besides lost connections SQLSTATE classes 53 resources and 57 operator's intervention. What has no
// SQLSTATE is a connection error; a RangeError came from parsing the answer.
// https://www.postgresql.org/docs/18/errcodes-appendix.html
function isOutage(error: unknown): boolean {
  if (isConnectionLost(error)) return true;
  if (error instanceof DatabaseError) return /^(53|57)/.test(error.code ?? '');
  return !(error instanceof RangeError || error instanceof TypeError);
}
