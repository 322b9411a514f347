/** Reading and writing PostgreSQL for a request: an outage becomes an answer that says so. */
import { DatabaseError, type Pool, type QueryConfig } from 'pg';
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
export class DatabaseUnavailableError extends Problem {
  override readonly name = 'DatabaseUnavailableError';

  constructor(cause: unknown) {
    super(503, 'DATABASE_UNAVAILABLE', 'The database is away. Try again in a moment.', {
      headers: { 'retry-after': '1' },
      cause,
    });
  }
}

// PostgreSQL's own limit does not help when it is PostgreSQL that hangs.
const answerTimeoutMs = 6_000;

/** Statements on a pool. */
export function createDatabase(pool: Pool): Database {
  return {
    async query<Row extends object>(statement: QueryConfig): Promise<Row[]> {
      try {
        const bounded = { ...statement, query_timeout: answerTimeoutMs };
        const { rows } = await pool.query<Row>(bounded);
        return rows;
      } catch (error) {
        throw isOutage(error) ? new DatabaseUnavailableError(error) : error;
      }
    },
  };
}

// SQLSTATE classes 08 connection, 53 resources, 57 operator's intervention. What has no SQLSTATE
// did not come from PostgreSQL but from the way to it; a RangeError came from reading its answer.
// https://www.postgresql.org/docs/18/errcodes-appendix.html
function isOutage(error: unknown): boolean {
  if (error instanceof DatabaseError) return /^(08|53|57)/.test(error.code ?? '');
  return !(error instanceof RangeError || error instanceof TypeError);
}
