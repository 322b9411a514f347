/** The migration that brings the tables to what is declared, for a person to read and commit. */
import { columnDefinitions, hashOf, isAsReleased, type ReleasedProjection } from './definition';
import { DeclarationError } from './effects';
import type { Projection } from './projection';

/** A migration to be written. */
export interface ProjectionMigration {
  /** The projections that it makes or changes. */
  readonly tables: readonly string[];
  readonly sql: string;
  /** What `released.json` says after it. */
  readonly released: Readonly<Record<string, ReleasedProjection>>;
}

/**
 * The migration from what was released to what is declared; undefined if they are the same.
 *
 * @param number of the migration
 * @throws DeclarationError for what only a person can decide: a table, column or key that goes or
 *   changes its type
 */
export function planMigration(
  declared: readonly Projection[],
  released: Readonly<Record<string, ReleasedProjection>>,
  number: number,
): ProjectionMigration | undefined {
  const gone = Object.keys(released).find((name) => !declared.some(({ table }) => table === name));
  if (gone !== undefined) {
    throw new DeclarationError(
      `The projection ${gone} is declared no more. Restore it, or write that migration by hand: drop the ` +
        'table, delete its row in collector.projections, whose fence would refuse every worker, and ' +
        'take it out of projections/released.json.',
    );
  }
  const changed = declared.filter((each) => !isAsReleased(each, released[each.table]));
  if (changed.length === 0) return undefined;
  const entries = changed.map((each): [string, ReleasedProjection] => [
    each.table,
    {
      migration: number,
      definition: hashOf(each),
      key: each.key,
      columns: columnDefinitions(each),
    },
  ]);
  return {
    tables: changed.map(({ table }) => table),
    sql: `${changed.map((each) => changeOf(each, released[each.table], number)).join('\n\n')}\n`,
    released: { ...released, ...Object.fromEntries(entries) },
  };
}

function changeOf(
  projection: Projection,
  before: ReleasedProjection | undefined,
  number: number,
): string {
  const { table, about } = projection;
  const change = before === undefined ? createTable(projection) : addColumns(projection, before);
  return [
    `-- ${about}.`,
    ...(change === undefined ? [] : [change]),
    `SELECT collector.declare_projection('${table}', '${hashOf(projection)}', ${number});`,
  ].join('\n');
}

function createTable(projection: Projection): string {
  const { table, key } = projection;
  const lines = Object.entries(columnDefinitions(projection)).map((column) => column.join(' '));
  // Rows are updated in place all the time: room on each page keeps the updates off the indexes.
  return `CREATE TABLE collector.${table} (
  ${[...lines, `PRIMARY KEY (${key.join(', ')})`].join(',\n  ')}
) WITH (fillfactor = 70);
GRANT SELECT, INSERT, UPDATE ON collector.${table} TO commerce_collector;
GRANT INSERT, UPDATE, DELETE ON collector.${table} TO commerce_operator;`;
}

function addColumns(projection: Projection, before: ReleasedProjection): string | undefined {
  const { table, key } = projection;
  const now = columnDefinitions(projection);
  if (key.join() !== before.key.join()) throw byHand(`${table} has another key than before.`);
  for (const [name, type] of Object.entries(before.columns)) {
    if (now[name] === undefined) throw byHand(`${table} has no column ${name} any more.`);
    if (now[name] !== type) throw byHand(`${table}.${name} was ${type} and is ${now[name]}.`);
  }
  const added = Object.entries(now).filter(([name]) => before.columns[name] === undefined);
  if (added.length === 0) return undefined;
  const clauses = added.map((column) => `ADD COLUMN ${column.join(' ')}`);
  return `ALTER TABLE collector.${table}\n  ${clauses.join(',\n  ')};`;
}

function byHand(problem: string): DeclarationError {
  return new DeclarationError(
    `${problem} Restore it, or write that migration by hand: change the table, call ` +
      'collector.declare_projection, and change projections/released.json to match.',
  );
}
