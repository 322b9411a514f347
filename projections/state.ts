/** Whether the tables in the database are those that are declared, and whether they are built. */
import { ConfigurationError } from '../platform/process/config';
import type { Queryable } from '../platform/postgres/pool';
import { projections } from '.';
import { columnTypes, newestMigration, releasedProjections, unreleasedTables } from './definition';

/** A table is not what its declaration says. Not retryable; the message says what to run. */
class ProjectionMismatchError extends ConfigurationError {}

/**
 * The projections that lack handled events: from the migration that made or changed one until
 * `npm run ops -- rebuild-metrics` has built it.
 */
export async function readUnbuilt(database: Queryable): Promise<string[]> {
  const { rows } = await database.query<{ table: string }>(`
    SELECT table_name AS table FROM collector.projections WHERE built_at IS NULL ORDER BY 1`);
  return rows.map(({ table }) => table);
}

/**
 * Compares declarations and tables. A database that is newer passes, as it must while a new version is
 * rolled out, if it still has every column that this version writes.
 *
 * @throws ProjectionMismatchError that names every difference
 */
export async function assertTablesMatch(database: Queryable): Promise<void> {
  const unreleased = unreleasedTables();
  if (unreleased.length > 0) {
    throw new ProjectionMismatchError(
      `No migration was written for the declaration of ${unreleased.join(', ')}: run npm run generate.`,
    );
  }
  const problems = findDifferences(await readMigrations(database), await readColumns(database));
  if (problems.length === 0) return;
  throw new ProjectionMismatchError(
    `The database does not have the projections that are declared: ${problems.join('; ')}. Run npm run migrate. ` +
      'What it does not mend has lost its row in collector.projections: docs/runbook.md, ProjectionsNotBuilt.',
  );
}

/**
 * Whether the database takes this version's updates: a projection that was built for a newer version
 * would be left incomplete by them.
 *
 * @throws ProjectionMismatchError that names these projections
 */
export async function assertNotRefused(database: Queryable): Promise<void> {
  const { rows } = await database.query<{ table: string }>(
    'SELECT table_name AS table FROM collector.projections WHERE writers_from > $1 ORDER BY 1',
    [newestMigration],
  );
  if (rows.length === 0) return;
  throw new ProjectionMismatchError(
    `For a newer version than this one (migration ${newestMigration}) was built: ` +
      `${rows.map(({ table }) => table).join(', ')}. The database refuses the updates of this one ` +
      '(WORKER_TOO_OLD): start the newer one, or see docs/runbook.md, EventsNotHandled, to go back.',
  );
}

type Migrations = Readonly<
  Record<string, { readonly migration: number; readonly definition: string }>
>;

async function readMigrations(database: Queryable): Promise<Migrations> {
  const { rows: known } = await database.query<{ exists: boolean }>(
    `SELECT to_regclass('collector.projections') IS NOT NULL AS exists`,
  );
  if (known[0]?.exists !== true) return {};
  const { rows } = await database.query<{ table: string; migration: number; definition: string }>(
    'SELECT table_name AS table, migration, definition FROM collector.projections',
  );
  return Object.fromEntries(rows.map(({ table, ...row }) => [table, row]));
}

async function readColumns(database: Queryable): Promise<ReadonlyMap<string, string>> {
  const { rows } = await database.query<{ name: string; type: string }>(
    `
    SELECT relname || '.' || attname AS name, typname AS type
    FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid
    JOIN pg_type ON pg_type.oid = atttypid
    WHERE relnamespace = to_regnamespace('collector') AND relname = ANY($1)
      AND attnum > 0 AND NOT attisdropped`,
    [projections.map(({ table }) => table)],
  );
  return new Map(rows.map(({ name, type }) => [name, type]));
}

function findDifferences(migrations: Migrations, found: ReadonlyMap<string, string>): string[] {
  return projections.flatMap((projection) => {
    const { table } = projection;
    const known = releasedProjections[table]!;
    const current = migrations[table];
    if (current === undefined) return [`${table} is missing`];
    if (current.migration < known.migration) return [`${table} is of an older migration`];
    if (current.migration === known.migration && current.definition !== known.definition) {
      return [`${table} is of another migration ${known.migration}`];
    }
    return Object.entries(columnTypes(projection)).flatMap(([name, type]) => {
      const stored = found.get(`${table}.${name}`);
      if (stored === undefined) return [`${table} has no column ${name}`];
      return stored === internalNames[type] ? [] : [`${table}.${name} is ${stored}, not ${type}`];
    });
  });
}

/** The types of columns as PostgreSQL's catalogue names them. */
const internalNames: Readonly<Record<string, string>> = {
  text: 'text',
  bigint: 'int8',
  numeric: 'numeric',
  boolean: 'bool',
  timestamptz: 'timestamptz',
  date: 'date',
};
