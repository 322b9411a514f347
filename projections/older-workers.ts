/** Collector workers of older versions, as PostgreSQL sees them: by the name of their connections. */
import type { Queryable } from '../platform/postgres/pool';

/** The `application_name` of their connections, before the version. */
export const collectorWorkerName = 'worker-collector';

/**
 * How many connections workers have that know no migration of this number, or tell none. A pooler between them and
 * PostgreSQL may hide some.
 */
export async function countOlderWorkers(database: Queryable, migration: number): Promise<number> {
  const { rows } = await database.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM pg_stat_activity
     WHERE datname = current_database() AND split_part(application_name, '/', 1) = $1
       AND coalesce(substring(application_name FROM '/(\\d{1,9})$')::integer, 0) < $2`,
    [collectorWorkerName, migration],
  );
  return rows[0]!.count;
}
