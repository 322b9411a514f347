/**
 * What a projection was declared as when its last migration was written (`released.json`), and what it
 * is declared as now. `npm run generate` writes the one from the other.
 */
import { createHash } from 'node:crypto';
import released from './released.json';
import { projections } from '.';
import { sourcesOf, typeOf, type Projection } from './projection';

/** A projection as its last migration made it. */
export interface ReleasedProjection {
  /** The number of that migration. */
  readonly migration: number;
  /** {@link hashOf} its declaration. */
  readonly definition: string;
  /** The columns that its rows are told apart by. */
  readonly key: readonly string[];
  /** Each column as it is declared in SQL, the key's included: `bigint NOT NULL DEFAULT 0`. */
  readonly columns: Readonly<Record<string, string>>;
}

/** Every projection that a migration made, by its table. */
export const releasedProjections: Readonly<Record<string, ReleasedProjection>> = released;

/**
 * The newest migration of a projection that this version knows. A database that was rebuilt for a newer
 * one refuses this version's updates.
 */
export const newestMigration = Math.max(
  ...Object.values(releasedProjections).map(({ migration }) => migration),
);

/** The tables whose declaration is not what their last migration was written for. */
export function unreleasedTables(
  declared: readonly Projection[] = projections,
  last: Readonly<Record<string, ReleasedProjection>> = releasedProjections,
): string[] {
  const changed = declared
    .filter((projection) => !isAsReleased(projection, last[projection.table]))
    .map(({ table }) => table);
  const removed = Object.keys(last).filter((name) => !declared.some(({ table }) => table === name));
  return [...changed, ...removed].sort();
}

/** Whether a table is declared as its last migration made it. */
export function isAsReleased(
  projection: Projection,
  last: ReleasedProjection | undefined,
): boolean {
  if (last?.definition !== hashOf(projection)) return false;
  // `updated_at` is of no event, and so not in the hash.
  return Object.keys(columnTypes(projection)).every((name) => name in last.columns);
}

/** The type of each column of a table in SQL, in the order of its declaration, the key first. */
export function columnTypes({
  effects,
  key,
  columns,
  stamped,
}: Projection): Record<string, string> {
  return {
    ...Object.fromEntries(key.map((name) => [name, typeOf(effects, name)])),
    ...Object.fromEntries(
      Object.entries(columns).map(([name, { of }]) => [name, typeOf(effects, of)]),
    ),
    ...(stamped === true ? { updated_at: 'timestamptz' } : {}),
  };
}

/** Each column of a table as it is declared in SQL: `bigint NOT NULL DEFAULT 0`. */
export function columnDefinitions(projection: Projection): Record<string, string> {
  const definitions = Object.entries(columnTypes(projection)).map(([name, type]) => [
    name,
    type + constraintOf(projection, name),
  ]);
  return Object.fromEntries(definitions) as Record<string, string>;
}

function constraintOf({ key, columns }: Projection, name: string): string {
  if (key.includes(name)) return ' NOT NULL';
  if (!(name in columns)) return ' NOT NULL DEFAULT now()';
  const { initially } = columns[name]!;
  return initially === undefined ? '' : ` NOT NULL DEFAULT ${initially}`;
}

/**
 * Stands for all that decides what a table holds: its columns, its key, and what each event type tells
 * of these. If it changes, the table has to be rebuilt.
 */
export function hashOf(projection: Projection): string {
  const { table, key, columns, effects } = projection;
  const read = new Set([...key, ...Object.values(columns).flatMap(({ of, by }) => [of, by ?? of])]);
  const sources = sourcesOf(projection).map(({ type, list, condition, values }) => ({
    type,
    list,
    condition,
    values: sorted(Object.entries(values).filter(([column]) => read.has(column))),
  }));
  const types = sorted([...read].map((column) => [column, typeOf(effects, column)]));
  const whole = { table, key, columns: sorted(Object.entries(columns)), types, sources };
  return createHash('sha256').update(JSON.stringify(whole)).digest('hex').slice(0, 16);
}

function sorted(entries: readonly (readonly [string, unknown])[]): (readonly [string, unknown])[] {
  return entries.toSorted(([one], [other]) => (one < other ? -1 : 1));
}
