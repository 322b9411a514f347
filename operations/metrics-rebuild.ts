/**
 * Rebuilds projections from the audit log into temporary tables, while events keep arriving, and then
 * corrects the live tables.
 *
 * **What is counted.** An event counts if it is in `event_handled`, and not otherwise. So an event in
 * flight, parked, or redriven meanwhile is not counted until it is handled, and then once.
 *
 * **How.**
 * 1. The IDs in `event_handled` are copied into a temporary table, `counted`. These IDs *are* the
 * snapshot: a logged event never changes, so they can be added up in batches into temporary tables
 * of the projections, by the same statement that adds up live events.
 * 2. What has been handled meanwhile is added in further rounds, each shorter than the last.
 * 3. In one transaction, `event_handled` is locked against writers, the few events handled since
 * the last round are added, and the live tables are corrected wherever they differ from the rebuilt
 * ones.
 *
 * **Why nothing is left out or counted twice.** `updateMetrics` inserts into `event_handled` and
 * adds to the metrics in one statement. While the lock is held, each of these statements has either
 * committed both or not begun: the live tables reflect exactly the events in `event_handled`, and
 * by then so do the rebuilt ones. Whatever is handled next adds to corrected rows. What has been
 * handled since a round is found by ID, never by time: timestamps are taken when a transaction
 * begins, not when it commits, and clocks jump. The comparison of transaction IDs is only a
 * prefilter that skips rows from before the first round; it errs on the side of too many, and the
 * event IDs decide.
 *
 * **Why readers are not blocked.** One table is locked, first in the transaction, in a mode that
 * does not conflict with readers. A statement of `updateMetrics` that holds a row lock on the
 * metrics also holds a lock on `event_handled`, and is waited for; one without that lock has no row
 * lock either. So there is no deadlock. The lock has a timeout of seconds, so that writers do not
 * queue behind it, and is retried after another round.
 *
 * **Why there is no gap.** Rows are corrected in place, not tables swapped by renaming: a reader
 * sees the old rows until the commit, and the corrected ones after it. Renaming would block every
 * reader, lose the privileges granted on the tables, and leave views on the old ones. Correct rows
 * are not written, so the lock is short where there is little to correct.
 *
 * **A projection that is new or changed** is marked as built in the same transaction, and older workers,
 * which would leave it incomplete, are refused from then on (`writers_from`): whichever of their
 * statements waits for the lock begins after the commit, and sees that. So that this stops nobody, the
 * rebuild of such a projection does not begin while the connection of an older worker is seen.
 *
 * A crash leaves nothing behind: temporary tables end with their connection. Concurrent rebuilds
 * are both correct, in any order.
 */
import { DatabaseError, type Pool, type PoolClient } from 'pg';
import type { Queryable } from '../platform/postgres/pool';
import { projections } from '../projections';
import { hashOf, releasedProjections } from '../projections/definition';
import type { Projection } from '../projections/projection';
import { assertTablesMatch, readUnbuilt } from '../projections/state';
import { rebuildStep } from '../projections/statements';
import { countOlderWorkers } from '../projections/older-workers';

export type RebuildProgress =
  /** `done` of `total` events are added up; more may arrive meanwhile. */
  | { readonly step: 'adding-up'; readonly done: number; readonly total: number }
  /** Lock timeout; retrying. */
  | { readonly step: 'lock-busy'; readonly tries: number }
  /** Writers are blocked; the live tables are being compared and corrected. */
  | { readonly step: 'correcting' };

/** Result of a rebuild. */
export interface RebuildReport {
  /** Handled events behind the projections. */
  readonly events: number;
  /** How long writers were blocked, in ms. */
  readonly lockedMs: number;
  /** What was corrected, by table. */
  readonly tables: Readonly<Record<string, Corrections>>;
}

/** Corrected rows of a table. */
export interface Corrections {
  readonly changed: number;
  readonly added: number;
  /** Rows without an event. */
  readonly removed: number;
}

export interface RebuildOptions {
  readonly onProgress?: (progress: RebuildProgress) => void;
  /** The tables to rebuild; all by default. */
  readonly only?: readonly string[];
  /** Batch size: events added up by one statement. */
  readonly chunkSize?: number;
  /** Lock timeout of an attempt, in ms. */
  readonly lockTimeoutMs?: number;
}

/** The lock could not be acquired: a transaction keeps writing to `event_handled`. */
class RebuildLockError extends Error {
  override readonly name = 'RebuildLockError';
  readonly code = 'REBUILD_LOCK_BUSY';
}

/** No such projection. The message lists those that there are. */
class UnknownProjectionError extends Error {
  override readonly name = 'UnknownProjectionError';
  readonly code = 'UNKNOWN_PROJECTION';
}

/** The database has another declaration of a projection, that of a newer version. Not retryable here. */
class NewerProjectionError extends Error {
  override readonly name = 'NewerProjectionError';
  readonly code = 'PROJECTION_NEWER';
}

/** A projection would miss what older workers handle. Retryable once they are stopped. */
class OlderWorkersError extends Error {
  override readonly name = 'OlderWorkersError';
  readonly code = 'OLDER_WORKERS_RUNNING';
}

const maxLockTries = 30;

/**
 * Rebuilds projections. Safe on a live system, and idempotent.
 *
 * @throws UnknownProjectionError, OlderWorkersError, RebuildLockError, NewerProjectionError,
 *   ProjectionMismatchError: nothing was changed
 */
export async function rebuildMetrics(
  pool: Pool,
  options: RebuildOptions = {},
): Promise<RebuildReport> {
  const { onProgress = () => undefined, chunkSize = 20_000, lockTimeoutMs = 3_000, only } = options;
  const chosen = choose(only);
  await assertTablesMatch(pool);
  await assertNotNewer(pool, chosen);
  await assertNoOlderWorkers(pool, chosen);
  const connection = await pool.connect();
  const rebuild = {
    ...{ connection, onProgress, chunkSize, projections: chosen },
    ...{ addedUp: 0, counted: 0, firstXid: '' },
  };
  try {
    await begin(rebuild);
    for (let tries = 1; tries <= maxLockTries; tries += 1) {
      await catchUp(rebuild);
      try {
        return await correctUnderLock(rebuild, lockTimeoutMs);
      } catch (error) {
        if (!isLockTimeout(error)) throw error;
        onProgress({ step: 'lock-busy', tries });
      }
    }
    throw new RebuildLockError(
      'Lock timeout on collector.event_handled: a transaction holds a lock on it. ' +
        'Find it in pg_stat_activity, end it, and retry. Nothing was changed.',
    );
  } finally {
    // Closes the connection, and with it all temporary tables.
    connection.release(true);
  }
}

function choose(only: readonly string[] | undefined): readonly Projection[] {
  const unknown = only?.find((name) => !projections.some(({ table }) => table === name));
  if (unknown !== undefined) {
    const known = projections.map(({ table }) => table).join(', ');
    throw new UnknownProjectionError(`There is no projection ${unknown}; there are: ${known}.`);
  }
  return projections.filter(({ table }) => only?.includes(table) !== false);
}

/** Rebuilt as this version declares it, a newer projection would be marked as built without being so. */
async function assertNotNewer(database: Queryable, chosen: readonly Projection[]): Promise<void> {
  const { rows } = await database.query<{ table: string }>(
    `SELECT table_name AS table FROM collector.projections
     JOIN unnest($1::text[], $2::text[]) AS known (table_name, declared) USING (table_name)
     WHERE definition <> declared ORDER BY 1`,
    [chosen.map(({ table }) => table), chosen.map(hashOf)],
  );
  if (rows.length === 0) return;
  throw new NewerProjectionError(
    `The database has a newer declaration of ${rows.map(({ table }) => table).join(', ')} than this ` +
      'version: run rebuild-metrics of the version that was migrated to. Nothing was changed.',
  );
}

async function assertNoOlderWorkers(pool: Pool, chosen: readonly Projection[]): Promise<void> {
  const unbuilt = new Set(await readUnbuilt(pool));
  const migrations = chosen
    .filter(({ table }) => unbuilt.has(table))
    .map(({ table }) => releasedProjections[table]!.migration);
  const older = await countOlderWorkers(pool, Math.max(0, ...migrations));
  if (older === 0) return;
  throw new OlderWorkersError(
    `${older} connections of older collector workers are open, which do not keep ${[...unbuilt].join(', ')}. ` +
      'Stop them, and run this again. Nothing was changed.',
  );
}

interface Rebuild {
  readonly connection: PoolClient;
  readonly projections: readonly Projection[];
  readonly onProgress: (progress: RebuildProgress) => void;
  readonly chunkSize: number;
  /** The oldest transaction that may commit after the first round's read. */
  firstXid: string;
  /** Events in `counted`. */
  counted: number;
  /** Those already in the rebuilt tables. */
  addedUp: number;
}

async function begin(rebuild: Rebuild): Promise<void> {
  const { connection } = rebuild;
  // Statements may be long here, and hashing every event's ID needs more than the default
  // `work_mem`.
  await connection.query(`SET statement_timeout = 0; SET work_mem = '128MB'`);
  await connection.query(`
    CREATE TEMPORARY TABLE counted (
      position bigint GENERATED ALWAYS AS IDENTITY,
      event_id text PRIMARY KEY
    )`);
  for (const { table } of rebuild.projections) {
    await connection.query(`
      CREATE TEMPORARY TABLE ${table}
        (LIKE collector.${table} INCLUDING DEFAULTS INCLUDING INDEXES)`);
  }
  // Read before the first round: no transaction invisible to that round is older.
  const { rows } = await connection.query<{ xid: string }>(
    'SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text AS xid',
  );
  rebuild.firstXid = rows[0]!.xid;
  const { rowCount } = await connection.query(
    'INSERT INTO pg_temp.counted (event_id) SELECT event_id FROM collector.event_handled',
  );
  rebuild.counted = rowCount ?? 0;
  await connection.query('CREATE UNIQUE INDEX ON pg_temp.counted (position)');
  await connection.query('ANALYZE pg_temp.counted');
}

// Rounds end when one adds little, and after a limit: under a load that outruns them the last one,
// under the lock, does more.
const maxRounds = 10;
const littleEvents = 500;

async function catchUp(rebuild: Rebuild): Promise<void> {
  await addUp(rebuild);
  for (let round = 1; round <= maxRounds; round += 1) {
    const found = await countNewlyHandled(rebuild);
    await addUp(rebuild);
    if (found <= littleEvents) return;
  }
}

async function countNewlyHandled(rebuild: Rebuild): Promise<number> {
  const { rowCount } = await rebuild.connection.query(
    `INSERT INTO pg_temp.counted (event_id)
     SELECT event_id FROM collector.event_handled AS handled
     WHERE age(handled.xmin) <= age($1::xid)
       AND NOT EXISTS (SELECT FROM pg_temp.counted WHERE counted.event_id = handled.event_id)`,
    [rebuild.firstXid],
  );
  rebuild.counted += rowCount ?? 0;
  return rowCount ?? 0;
}

async function addUp(rebuild: Rebuild): Promise<void> {
  const { connection, chunkSize, onProgress } = rebuild;
  const statement = rebuildStep(rebuild.projections);
  while (rebuild.addedUp < rebuild.counted) {
    const upTo = Math.min(rebuild.addedUp + chunkSize, rebuild.counted);
    await connection.query(statement, [rebuild.addedUp, upTo]);
    rebuild.addedUp = upTo;
    onProgress({ step: 'adding-up', done: upTo, total: rebuild.counted });
  }
}

async function correctUnderLock(rebuild: Rebuild, lockTimeoutMs: number): Promise<RebuildReport> {
  const { connection, onProgress } = rebuild;
  await connection.query('BEGIN');
  try {
    await connection.query(`SET LOCAL lock_timeout = ${lockTimeoutMs}`);
    await connection.query('LOCK TABLE collector.event_handled IN EXCLUSIVE MODE');
    await connection.query('SET LOCAL lock_timeout = 0');
    const lockedAt = performance.now();
    onProgress({ step: 'correcting' });
    await countNewlyHandled(rebuild);
    await addUp(rebuild);
    const corrections: Record<string, Corrections> = {};
    for (const projection of rebuild.projections) {
      corrections[projection.table] = await correct(connection, projection);
    }
    await markBuilt(rebuild);
    await connection.query('COMMIT');
    const lockedMs = Math.round(performance.now() - lockedAt);
    return { events: rebuild.counted, lockedMs, tables: corrections };
  } catch (error) {
    // Report the original error, not the failed rollback of a broken connection: it is closed either
    // way.
    await connection.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** An unbuilt projection is complete from this commit on, if no older worker writes any more. */
async function markBuilt({ connection, projections: rebuilt }: Rebuild): Promise<void> {
  await connection.query(
    `UPDATE collector.projections
     SET built_at = now(),
       writers_from = CASE WHEN built_at IS NULL THEN migration ELSE writers_from END
     WHERE table_name = ANY($1)`,
    [rebuilt.map(({ table }) => table)],
  );
  // Again, now that the rows are locked: a migration may have come meanwhile.
  await assertNotNewer(connection, rebuilt);
}

async function correct(connection: PoolClient, projection: Projection): Promise<Corrections> {
  const { rows } = await connection.query<{ action: string; count: number }>(
    correction(projection),
  );
  const countOf = (action: string): number => rows.find((row) => row.action === action)?.count ?? 0;
  return { changed: countOf('UPDATE'), added: countOf('INSERT'), removed: countOf('DELETE') };
}

function correction({ table, key, columns, stamped }: Projection): string {
  const values = Object.keys(columns);
  const of = (side: string, names: readonly string[]): string =>
    names.map((name) => `${side}.${name}`).join(', ');
  const all = [...key, ...values];
  const assignments = values.map((name) => `${name} = rebuilt.${name}`);
  if (stamped === true) assignments.push('updated_at = now()');
  return `
    WITH correction AS (
      MERGE INTO collector.${table} AS live
      USING pg_temp.${table} AS rebuilt ON (${of('live', key)}) = (${of('rebuilt', key)})
      WHEN MATCHED AND (${of('live', values)}) IS DISTINCT FROM (${of('rebuilt', values)}) THEN
        UPDATE SET ${assignments.join(', ')}
      WHEN NOT MATCHED BY TARGET THEN
        INSERT (${all.join(', ')}) VALUES (${of('rebuilt', all)})
      WHEN NOT MATCHED BY SOURCE THEN DELETE
      RETURNING merge_action() AS action
    )
    SELECT action, count(*) FROM correction GROUP BY action`;
}

// SQLSTATE lock_not_available.
function isLockTimeout(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '55P03';
}
