/**
 * Rebuilding: computes every metric anew from the log of events, beside the live ones and while
 * events keep arriving, and puts the result in their place.
 *
 * **What is counted.** An event counts if it is in `event_handled`, and not otherwise. So an event in
 * flight, parked, or redriven meanwhile is not counted until it is handled, and then once.
 *
 * **How.**
 * 1. The IDs in `event_handled` are copied into a temporary table, `counted`. These IDs *are* the
 *    snapshot: a logged event never changes, so they can be added up in pieces, at leisure, into
 *    temporary tables of metrics, by the very statement that adds up live events.
 * 2. What has been handled meanwhile is added in further rounds, each shorter than the one before.
 * 3. `event_handled` is locked against writers; what has been handled since the last round, which is
 *    little, is added; and the live tables are corrected, in the same transaction, wherever they
 *    differ from the rebuilt ones.
 *
 * **Why nothing is left out or counted twice.** `updateMetrics` inserts into `event_handled` and adds
 * to the metrics in one statement. While the lock is held, each of these statements has either
 * committed both or not begun: the live tables stand for exactly the events in `event_handled`, and
 * so do the rebuilt ones by then. Whatever is handled next adds to corrected rows. What has been
 * handled since a round is found by ID, never by time: times are taken when a transaction begins,
 * not when it commits, and clocks are set. The comparison of transaction IDs only spares looking at
 * the rows that were there before the first round. It lets too many pass rather than too few, since
 * the IDs of events decide afterwards.
 *
 * **Why nobody is locked out.** One table is locked, before anything else of the transaction, in a
 * mode that readers do not mind. A statement of `updateMetrics` that holds a lock on a row of metrics
 * holds one on `event_handled` too, and is waited for; one that has not got that lock holds none on a
 * row. So no two wait for each other. When the lock is not to be had within seconds, it is given up,
 * for all who queue behind it, and tried again after another round.
 *
 * **Why there is no gap.** Rows are corrected in place, not tables swapped by renaming: a reader sees
 * the old rows until the commit, and the corrected ones after it. Renaming would wait for, and hold
 * back, every reader, would lose the rights granted on the tables, and would leave views with the old
 * ones. Rows that are right are not written, so the lock is short where there is little to correct.
 *
 * A crash leaves nothing behind: temporary tables end with their connection. Two rebuildings at once
 * are both right, whichever comes first.
 */
import { DatabaseError, type Pool, type PoolClient } from 'pg';
import { addUpEffects, metricGuards } from '../activities/collector/product-metrics';

/** What rebuilding has come to. */
export type RebuildProgress =
  /** `done` of `total` events are added up; more may arrive meanwhile. */
  | { readonly step: 'adding-up'; readonly done: number; readonly total: number }
  /** Writers could not be locked out in time; trying again. */
  | { readonly step: 'lock-busy'; readonly tries: number }
  /** Writers are locked out; the live metrics are being compared and corrected. */
  | { readonly step: 'correcting' };

/** How rebuilding has turned out. */
export interface RebuildReport {
  /** Events that the metrics stand for. */
  readonly events: number;
  /** How long writers were locked out, in ms. */
  readonly lockedMs: number;
  /** What was done to each table. */
  readonly tables: Readonly<Record<MetricTable, Corrections>>;
}

/** Rows of a table that were wrong. */
export interface Corrections {
  /** Rows whose numbers were wrong. */
  readonly changed: number;
  /** Rows that were missing. */
  readonly added: number;
  /** Rows that no event accounts for. */
  readonly removed: number;
}

/** A table of metrics. */
type MetricTable = 'product_metrics' | 'product_metrics_daily' | 'product_user_metrics';

/** Options of rebuilding. */
export interface RebuildOptions {
  readonly onProgress?: (progress: RebuildProgress) => void;
  /** Most events that are added up by one statement. */
  readonly chunkSize?: number;
  /** For how long to wait for the lock before it is given up and tried again, in ms. */
  readonly lockTimeoutMs?: number;
}

/** The lock was never to be had: some transaction keeps writing to `event_handled`. */
class RebuildLockError extends Error {
  override readonly name = 'RebuildLockError';
  readonly code = 'REBUILD_LOCK_BUSY';
}

const maxLockTries = 30;

/**
 * Rebuilds every metric. Safe at any time, on a live system, and again.
 *
 * @throws RebuildLockError nothing was changed
 */
export async function rebuildMetrics(
  pool: Pool,
  { onProgress = () => undefined, chunkSize = 20_000, lockTimeoutMs = 3_000 }: RebuildOptions = {},
): Promise<RebuildReport> {
  const connection = await pool.connect();
  // When it breaks, the statement under way tells; without a listener this would end the process.
  connection.on('error', () => undefined);
  const rebuild = { connection, onProgress, chunkSize, addedUp: 0, counted: 0, firstXid: '' };
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
      'Writers to collector.event_handled could not be locked out: a transaction holds on to it. ' +
        'Find it in pg_stat_activity, end it, and try again. Nothing was changed.',
    );
  } finally {
    // Closes the connection, and with it all temporary tables.
    connection.release(true);
  }
}

interface Rebuild {
  readonly connection: PoolClient;
  readonly onProgress: (progress: RebuildProgress) => void;
  readonly chunkSize: number;
  /** The oldest transaction that may commit after the first round has looked. */
  firstXid: string;
  /** Events in `counted`. */
  counted: number;
  /** Those of them that are in the rebuilt metrics. */
  addedUp: number;
}

/** Every column that is computed from events, besides the key: rows differ if one of these does. */
const tables: Readonly<Record<MetricTable, { key: readonly string[]; values: readonly string[] }>> =
  {
    product_metrics: {
      key: ['product_id'],
      values: Object.keys(metricGuards.product_metrics),
    },
    product_metrics_daily: {
      key: ['product_id', 'day'],
      values: Object.keys(metricGuards.product_metrics_daily),
    },
    product_user_metrics: {
      key: ['product_id', 'user_id'],
      values: Object.keys(metricGuards.product_user_metrics),
    },
  };
const tableNames = Object.keys(tables) as MetricTable[];

async function begin(rebuild: Rebuild): Promise<void> {
  const { connection } = rebuild;
  // A statement may be long here, and hashing every event's ID takes more than the default.
  await connection.query(`SET statement_timeout = 0; SET work_mem = '128MB'`);
  await connection.query(`
    CREATE TEMPORARY TABLE counted (
      position bigint GENERATED ALWAYS AS IDENTITY,
      event_id text PRIMARY KEY
    )`);
  for (const table of tableNames) {
    await connection.query(`
      CREATE TEMPORARY TABLE ${table}
        (LIKE collector.${table} INCLUDING DEFAULTS INCLUDING INDEXES)`);
  }
  // Asked before the first round looks: whatever that cannot see is not older.
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

// Rounds end when one brings little, and after some in any case: under a load that outruns them the
// last one, under the lock, does more.
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

const addUpStatement = `
  WITH effect AS MATERIALIZED (
    SELECT event_effects.*
    FROM pg_temp.counted JOIN collector.event_effects USING (event_id)
    WHERE position > $1 AND position <= $2
  ),${addUpEffects('pg_temp')}
  SELECT`;

async function addUp(rebuild: Rebuild): Promise<void> {
  const { connection, chunkSize, onProgress } = rebuild;
  while (rebuild.addedUp < rebuild.counted) {
    const upTo = Math.min(rebuild.addedUp + chunkSize, rebuild.counted);
    await connection.query(addUpStatement, [rebuild.addedUp, upTo]);
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
    const corrections = {} as Record<MetricTable, Corrections>;
    for (const table of tableNames) corrections[table] = await correct(connection, table);
    await connection.query('COMMIT');
    const lockedMs = Math.round(performance.now() - lockedAt);
    return { events: rebuild.counted, lockedMs, tables: corrections };
  } catch (error) {
    // What went wrong is told, not that a connection it has broken cannot roll back: it is closed either way.
    await connection.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

async function correct(connection: PoolClient, table: MetricTable): Promise<Corrections> {
  const { rows } = await connection.query<{ action: string; count: number }>(correction(table));
  const countOf = (action: string): number => rows.find((row) => row.action === action)?.count ?? 0;
  return { changed: countOf('UPDATE'), added: countOf('INSERT'), removed: countOf('DELETE') };
}

function correction(table: MetricTable): string {
  const { key, values } = tables[table];
  const of = (side: string, names: readonly string[]): string =>
    names.map((name) => `${side}.${name}`).join(', ');
  const columns = [...key, ...values];
  const assignments = values.map((name) => `${name} = rebuilt.${name}`);
  if (table === 'product_metrics') assignments.push('updated_at = now()');
  return `
    WITH correction AS (
      MERGE INTO collector.${table} AS live
      USING pg_temp.${table} AS rebuilt ON (${of('live', key)}) = (${of('rebuilt', key)})
      WHEN MATCHED AND (${of('live', values)}) IS DISTINCT FROM (${of('rebuilt', values)}) THEN
        UPDATE SET ${assignments.join(', ')}
      WHEN NOT MATCHED BY TARGET THEN
        INSERT (${columns.join(', ')}) VALUES (${of('rebuilt', columns)})
      WHEN NOT MATCHED BY SOURCE THEN DELETE
      RETURNING merge_action() AS action
    )
    SELECT action, count(*) FROM correction GROUP BY action`;
}

// SQLSTATE lock_not_available.
function isLockTimeout(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '55P03';
}
