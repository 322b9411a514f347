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

/** What every projection is, by table, for distinct events. */
export function addUpProjections(events: readonly Event[]): Record<string, Rows> {
  return Object.fromEntries(
    projections.map((projection) => [projection.table, addUp(projection, events)]),
  );
}

/** What is stored of every projection, by table. */
export async function readProjections(pool: Pool): Promise<Record<string, Rows>> {
  const tables: Record<string, Rows> = {};
  for (const { table, key, columns } of projections) {
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

function addUp(projection: Projection, events: readonly Event[]): Rows {
  const { key, columns, effects } = projection;
  const rows = new Map<string, Map<string, { value: Value; version: bigint }>>();
  for (const effect of events.flatMap((event) => effectsOf(event, effects.sources))) {
    const place = key.map((name) => effect[name] ?? null);
    if (place.includes(null)) continue;
    if (Object.values(columns).every(({ of }) => (effect[of] ?? null) === null)) continue;
    const id = JSON.stringify(place.map(String));
    const row = rows.get(id) ?? new Map(Object.entries(columns).map(beginning));
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

function beginning([name, { initially }]: [string, Column]): [
  string,
  { value: Value; version: bigint },
] {
  const value = typeof initially === 'number' ? BigInt(initially) : (initially ?? null);
  return [name, { value, version: 0n }];
}

function take(cell: { value: Value; version: bigint }, column: Column, effect: Effect): void {
  const value = effect[column.of] ?? null;
  if (value === null) return;
  switch (column.guard) {
    case 'event-id':
      cell.value = (cell.value as bigint) + (value as bigint);
      break;
    case 'maximum':
      if (cell.value === null || value > cell.value) cell.value = value;
      break;
    case 'version': {
      const version = effect[column.by!] as bigint;
      if (version > cell.version) Object.assign(cell, { value, version });
    }
  }
}

function effectsOf(event: Event, sources: readonly Source[]): Effect[] {
  const source = sources.find(({ type }) => type === event.type);
  if (source === undefined) return [];
  const data = event.data as Readonly<Record<string, unknown>>;
  const { condition, list, values } = source;
  if (condition !== undefined && valueOf(condition, data, {}) !== true) return [];
  const instant = new Date(event.time).toISOString();
  const items = list === undefined ? [{}] : (data[list] as Record<string, unknown>[]);
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
    case 'negative':
      return -(valueOf(expression.of, data, item) as bigint);
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
