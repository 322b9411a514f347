/**
 * A naive model of projections: events added up one after the other, in memory, each once. It reads the
 * same declarations as the SQL, and shares no code with it.
 */
import type { Pool } from 'pg';
import type { Event } from '../events/envelope';
import { projections } from '../projections';
import type { Expression, Source } from '../projections/effects';
import type { Column, Projection } from '../projections/projection';

/** The rows of a table, as text, in the order of their keys. */
export type Rows = readonly Readonly<Record<string, string | null>>[];

/** What projections are, by table, for distinct events. */
export function addUpProjections(
  events: readonly Event[],
  declared: readonly Projection[] = projections,
): Record<string, Rows> {
  return Object.fromEntries(
    declared.map((projection) => [projection.table, addUp(projection, events)]),
  );
}

/** What is stored of projections, by table. */
export async function readProjections(
  pool: Pool,
  declared: readonly Projection[] = projections,
): Promise<Record<string, Rows>> {
  const tables: Record<string, Rows> = {};
  for (const { table, key, columns } of declared) {
    const names = [...key, ...Object.keys(columns)];
    const { rows } = await pool.query<Record<string, string | null>>(
      `SELECT ${names.map((name) => `${textOf(name)} AS ${name}`).join(', ')}
       FROM collector.${table}`,
    );
    tables[table] = inOrder(rows, key);
  }
  return tables;
}

/** Empties the log, the guard and every projection. */
export async function emptyProjections(pool: Pool): Promise<void> {
  const tables = ['event_log', 'event_handled', ...projections.map(({ table }) => table)];
  await pool.query(`TRUNCATE ${tables.map((table) => `collector.${table}`).join(', ')}`);
}

type Value = bigint | string | boolean | null;
type Effect = Readonly<Record<string, Value>>;

/** A value, and the version of it where it is a snapshot. */
interface Cell {
  value: Value;
  version: Value;
}

function addUp(projection: Projection, events: readonly Event[]): Rows {
  const { key, columns, effects } = projection;
  const rows = new Map<string, Map<string, Cell>>();
  for (const effect of events.flatMap((event) => effectsOf(event, effects.sources))) {
    const place = key.map((name) => effect[name] ?? null);
    if (place.includes(null)) continue;
    if (Object.values(columns).every(({ of }) => (effect[of] ?? null) === null)) continue;
    const id = JSON.stringify(place.map(String));
    const row =
      rows.get(id) ?? new Map(Object.keys(columns).map((name) => [name, begin(projection, name)]));
    rows.set(id, row);
    for (const [name, column] of Object.entries(columns)) take(row.get(name)!, column, effect);
  }
  const found = [...rows].map(([id, row]) => ({
    ...Object.fromEntries(key.map((name, at) => [name, (JSON.parse(id) as string[])[at]!])),
    ...Object.fromEntries(
      [...row].map(([name, { value }]) => [name, value === null ? null : String(value)]),
    ),
  }));
  return inOrder(found, key);
}

function begin({ columns }: Projection, name: string): Cell {
  const { by, initially } = columns[name]!;
  const version = Object.values(columns).find(({ guard, of }) => guard === 'maximum' && of === by);
  return { value: valueBefore(initially), version: valueBefore(version?.initially) };
}

function valueBefore(initially: Column['initially']): Value {
  return typeof initially === 'number' ? BigInt(initially) : (initially ?? null);
}

function take(cell: Cell, { guard, of, by, initially }: Column, effect: Effect): void {
  const value = effect[of] ?? null;
  if (guard === 'version') {
    const version = effect[by!] ?? null;
    if (version === null || (cell.version !== null && version <= cell.version)) return;
    Object.assign(cell, { value: value ?? valueBefore(initially), version });
  } else if (value !== null) {
    if (guard === 'event-id') cell.value = (cell.value as bigint) + (value as bigint);
    else if (cell.value === null || value > cell.value) cell.value = value;
  }
}

function effectsOf(event: Event, sources: readonly Source[]): Effect[] {
  const source = sources.find(({ type }) => type === event.type);
  if (source === undefined) return [];
  const data = event.data as Readonly<Record<string, unknown>>;
  const { condition, list, values } = source;
  if (condition !== undefined && valueOf(condition, data, {}) !== true) return [];
  const instant = new Date(event.time).toISOString();
  const items = list === undefined ? [{}] : ((data[list] ?? []) as Record<string, unknown>[]);
  return items.map((item) => ({
    occurred_at: instant,
    day: instant.slice(0, 10),
    ...Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, valueOf(value, data, item)]),
    ),
  }));
}

function valueOf(
  expression: Expression,
  data: Readonly<Record<string, unknown>>,
  item: Readonly<Record<string, unknown>>,
): Value {
  switch (expression.kind) {
    case 'field': {
      const value = (expression.of === 'data' ? data : item)[expression.name] ?? null;
      return typeof value === 'number' ? BigInt(value) : (value as Value);
    }
    case 'number':
      return BigInt(expression.value);
    case 'negative': {
      const value = valueOf(expression.of, data, item) as bigint | null;
      return value === null ? null : -value;
    }
    case 'either':
      return BigInt(
        valueOf(expression.condition, data, item) === true ? expression.yes : expression.no,
      );
  }
}

function inOrder(rows: Rows, key: readonly string[]): Rows {
  const place = (row: Rows[number]): string => JSON.stringify(key.map((name) => row[name]));
  return rows.toSorted((one, other) => (place(one) < place(other) ? -1 : 1));
}

/** Instants as the model has them; anything else as PostgreSQL's text. */
function textOf(name: string): string {
  return name.endsWith('_at')
    ? `to_char(${name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
    : `${name}::text`;
}
