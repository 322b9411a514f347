/** PostgreSQL: pools, transactions, and which errors are permanent. */
import { DatabaseError, Pool, types, type PoolClient, type PoolConfig } from 'pg';
import { readCertificateFile } from '../process/certificates';
import type { Logger } from '../observability/logger';
import { watchPool } from '../observability/telemetry';
import { parseConnectionString } from './connection-string';
import { assertWritable, clientClass, ReadOnlyServerError } from './hosts';

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
  /**
   * `lock_timeout` in ms: how long a statement waits for a lock that another transaction holds, with its
   * connection. None by default.
   */
  readonly lockTimeoutMs?: number;
}

// How much longer than PostgreSQL's own timeout the client waits, in ms.
const answerGraceMs = 1_000;

/**
 * A connection pool. An idle connection that breaks is logged and replaced. Once a connection is lost
 * ({@link isConnectionLost}), none that is as old is used again.
 *
 * @param connectionString may name several hosts, and `target_session_attrs`
 * @throws ConfigurationError when a certificate that the connection string names cannot be read
 */
export function createPool(connectionString: string, logger: Logger, options: PoolOptions): Pool {
  const { statementTimeoutMs = 30_000, role } = options;
  const target = parseConnectionString(connectionString);
  assertCertificatesReadable(target.servers[0]);
  const pool = new RenewingPool({
    Client: clientClass(target),
    connectionString: withSettings(target.servers[0], {
      ...(role === undefined ? {} : { role }),
      ...(options.customPlans === true ? { plan_cache_mode: 'force_custom_plan' } : {}),
    }),
    application_name: nameOf(options),
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: 5_000,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs ?? 15_000,
    statement_timeout: statementTimeoutMs,
    ...(options.lockTimeoutMs === undefined ? {} : { lock_timeout: options.lockTimeoutMs }),
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

type ConnectCallback = Parameters<typeof Pool.prototype.connect>[0];

/**
 * A pool whose connections are renewed after a failover: one that was lost says that those opened before
 * lead to the same server, and would fail one request each.
 */
class RenewingPool extends Pool {
  /** How often a connection was lost, and how often before each connection was opened. */
  private losses = 0;
  private readonly lossesBefore = new WeakMap<PoolClient, number>();

  constructor(config: PoolConfig) {
    super(config);
    const countLoss = (error: unknown): void => {
      if (isConnectionLost(error)) this.losses += 1;
    };
    this.on('connect', (connection) => {
      this.lossesBefore.set(connection, this.losses);
      connection.on('error', countLoss);
    });
    // Also emitted for what `query` has used.
    this.on('release', countLoss);
  }

  override connect(): Promise<PoolClient>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): Promise<PoolClient> | void {
    const connected = this.connectAnew();
    if (callback === undefined) return connected;
    connected.then(
      (connection) => callback(undefined, connection, connection.release.bind(connection)),
      (error: Error) => callback(error, undefined, () => undefined),
    );
  }

  private async connectAnew(): Promise<PoolClient> {
    // As many as the pool holds can be old. After that it is new ones that are lost: their statement says so.
    for (let old = 0; ; old += 1) {
      const connection = await super.connect();
      const isNew = this.lossesBefore.get(connection) === this.losses;
      if (isNew || old === this.options.max) return connection;
      connection.release(true);
    }
  }
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
 * A lost connection is not returned to the pool.
 */
export async function inTransaction<T>(
  pool: Pool,
  work: (connection: PoolClient) => Promise<T>,
): Promise<T> {
  const connection = await pool.connect();
  let broken: Error | undefined;
  try {
    await connection.query('BEGIN');
    const result = await work(connection);
    await connection.query('COMMIT');
    for (const note of commitNotes.get(connection) ?? []) note();
    return result;
  } catch (error) {
    // On a connection that is lost a rollback might wait for an answer until its timeout, too.
    broken = isConnectionLost(error) ? error : await rollBack(connection);
    throw error;
  } finally {
    commitNotes.delete(connection);
    connection.release(broken);
  }
}

/** @returns why it cannot be done */
async function rollBack(connection: PoolClient): Promise<Error | undefined> {
  try {
    await connection.query('ROLLBACK');
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
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

/**
 * Whether an error says that the server of a connection is gone, or takes no writes: since a failover it
 * is another's replica. SQLSTATE classes 08, connection, and 57P, operator's intervention; 25006,
 * read-only transaction; 25P03, idle for too long in a transaction.
 */
export function isConnectionLost(error: unknown): error is Error {
  if (error instanceof DatabaseError) return /^(08|57P|25006$|25P03$)/.test(error.code ?? '');
  if (error instanceof ReadOnlyServerError) return true;
  return error instanceof Error && ('syscall' in error || lostAsDriverSays.test(error.message));
}

// The driver's errors have no code; the second is its `query_timeout`, the third of a statement after the loss.
const lostAsDriverSays =
  /^(Connection terminated|Query read timeout|Client has encountered a connection error)/;

// A healthy server answers in a millisecond. Statements of workers may wait for half a minute.
const probeTimeoutMs = 5_000;

/**
 * The server takes writes. A connection that finds it read-only, or silent for five seconds, is lost.
 *
 * @throws ReadOnlyServerError; the driver's error
 */
export async function probeWritable(pool: Pool): Promise<void> {
  const connection = await pool.connect();
  let lost: Error | undefined;
  try {
    await assertWritable(connection, { timeoutMs: probeTimeoutMs });
  } catch (error) {
    lost = error as Error;
    throw error;
  } finally {
    connection.release(lost);
  }
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
