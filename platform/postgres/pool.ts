/** PostgreSQL: pools, transactions, and which errors are permanent. */
import { DatabaseError, Pool, types, type PoolClient } from 'pg';
import { readCertificateFile } from '../process/certificates';
import type { Logger } from '../observability/logger';
import { watchPool } from '../observability/telemetry';

/** Whatever runs a statement: a pool or one connection of it. */
export type Queryable = Pick<PoolClient, 'query'>;

/**
 * Least-privilege roles, one for each kind of process. The user of a process is a member of its role;
 * the owner of the tables may assume any of them.
 */
export type DatabaseRole =
  'commerce_api' | 'commerce_bridge' | 'commerce_collector' | 'commerce_operator' | 'commerce_shop';

export interface PoolOptions {
  /** `application_name` in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Added to that name after a `/`, where others need to know which version is connected. */
  readonly version?: number;
  /** The role that every connection assumes; without it the user's own privileges. */
  readonly role?: DatabaseRole;
  /**
   * Whether each execution of a prepared statement is planned anew (`plan_cache_mode`), for statements
   * whose tables grow from nothing while the process runs: parsing is saved all the same.
   */
  readonly customPlans?: boolean;
  /** Maximum number of connections. */
  readonly maxConnections?: number;
  /**
   * `idle_in_transaction_session_timeout` in ms, so that a frozen process does not hold its locks
   * forever.
   */
  readonly idleInTransactionTimeoutMs?: number;
  /** `statement_timeout` in ms; 0 for none. */
  readonly statementTimeoutMs?: number;
}

// How much longer than PostgreSQL's own timeout the client waits, in ms.
const answerGraceMs = 1_000;

/**
 * A connection pool. An idle connection that breaks is logged and replaced.
 *
 * @throws ConfigurationError when a certificate that the connection string names cannot be read
 */
export function createPool(connectionString: string, logger: Logger, options: PoolOptions): Pool {
  const { statementTimeoutMs = 30_000, role } = options;
  assertCertificatesReadable(connectionString);
  const pool = new Pool({
    connectionString: withSettings(connectionString, {
      ...(role === undefined ? {} : { role }),
      ...(options.customPlans === true ? { plan_cache_mode: 'force_custom_plan' } : {}),
    }),
    application_name: nameOf(options),
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: 5_000,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs ?? 15_000,
    statement_timeout: statementTimeoutMs,
    // PostgreSQL's own timeout does not help when PostgreSQL hangs.
    query_timeout: statementTimeoutMs === 0 ? 0 : statementTimeoutMs + answerGraceMs,
    keepAlive: true,
    types: { getTypeParser: typeParser },
  });
  pool.on('error', (error) => {
    logger.warn({ err: error }, 'idle PostgreSQL connection lost; the pool replaces it');
  });
  watchPool(options.applicationName, pool);
  return pool;
}

function nameOf({ applicationName, version }: PoolOptions): string {
  return version === undefined ? applicationName : `${applicationName}/${version}`;
}

// As startup parameters they cannot be forgotten, cost no round trip, and survive RESET.
function withSettings(
  connectionString: string,
  settings: Readonly<Record<string, string>>,
): string {
  const added = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  if (added.length === 0) return connectionString;
  const url = new URL(connectionString);
  const given = url.searchParams.get('options');
  url.searchParams.set('options', [...(given === null ? [] : [given]), ...added].join(' '));
  return url.href;
}

// Only to name the wrong variable: the driver reads the files itself.
function assertCertificatesReadable(connectionString: string): void {
  const { searchParams } = new URL(connectionString);
  for (const name of ['sslrootcert', 'sslcert', 'sslkey']) {
    const file = searchParams.get(name);
    if (file !== null) readCertificateFile('DATABASE_URL', file);
  }
}

/**
 * Runs `work` in one transaction: committed when it returns, rolled back when it throws.
 * A broken connection is not returned to the pool.
 */
export async function inTransaction<T>(
  pool: Pool,
  work: (connection: PoolClient) => Promise<T>,
): Promise<T> {
  const connection = await pool.connect();
  // A connection that breaks while checked out reports it twice: by the failing statement, and by this
  // event, which would crash the process if unhandled.
  let broken: Error | undefined;
  const onError = (error: Error): void => {
    broken = error;
  };
  connection.on('error', onError);
  try {
    await connection.query('BEGIN');
    const result = await work(connection);
    await connection.query('COMMIT');
    for (const note of commitNotes.get(connection) ?? []) note();
    return result;
  } catch (error) {
    await connection.query('ROLLBACK').catch((rollbackError: unknown) => {
      broken ??= rollbackError instanceof Error ? rollbackError : new Error(String(rollbackError));
    });
    throw error;
  } finally {
    commitNotes.delete(connection);
    connection.off('error', onError);
    connection.release(broken);
  }
}

const commitNotes = new WeakMap<PoolClient, (() => void)[]>();

/**
 * Runs `note` after the commit of the connection's {@link inTransaction}, and never after a rollback,
 * so that metrics count only what happened.
 */
export function afterCommit(connection: PoolClient, note: () => void): void {
  commitNotes.set(connection, [...(commitNotes.get(connection) ?? []), note]);
}

/**
 * Whether an error is permanent: the data can never be stored (SQLSTATE classes 22, data exception; 23,
 * integrity constraint; 54, program limit). Everything else is retryable.
 * https://www.postgresql.org/docs/18/errcodes-appendix.html
 */
export function isDataError(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && /^(22|23|54)/.test(error.code ?? '');
}

// Counts and versions are kept as bigint or numeric. All of ours fit a double exactly; one that
// does not is an error here instead of a wrong digit somewhere else.
function exactNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new RangeError(`PostgreSQL returned ${text}, which JavaScript cannot hold exactly.`);
}

const parsers = new Map<number, (text: string) => unknown>([
  [types.builtins.INT8, exactNumber],
  [types.builtins.NUMERIC, exactNumber],
]);

function typeParser(id: number, format?: 'text' | 'binary'): (text: string) => unknown {
  const own = format === 'binary' ? undefined : parsers.get(id);
  return own ?? (types.getTypeParser(id, format) as (text: string) => unknown);
}
