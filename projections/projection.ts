/**
 * A projection: a table that effects are added up into. One file in `tables/` each.
 *
 * A column says how it takes values in, and so why repeats and any order do it no harm. There is no
 * other way to write to one.
 */
import { DeclarationError, type Effects, type SqlType } from './effects';

/** What keeps a column right under duplicates and reordering. */
type Guard =
  /** A sum: the insert into `event_handled` counts each event once, and sums commute. */
  | 'event-id'
  /** A snapshot: written only by an event with a newer version than the stored one. */
  | 'version'
  /** A maximum: commutative and idempotent. */
  | 'maximum';

/** A column: how it takes in a column of the effects. */
export interface Column<Of extends string = string> {
  readonly guard: Guard;
  /** The column of the effects. */
  readonly of: Of;
  /** The version of a snapshot, among the effects; a maximum of it is in the same table. */
  readonly by?: Of;
  /** What it holds before any event has told; without it null, or there is no row before. */
  readonly initially?: number | boolean | undefined;
}

/** Adds up, from 0. */
export function sum<const Of extends string>(of: Of): Column<Of> {
  return { guard: 'event-id', of, initially: 0 };
}

/** Keeps the greatest, and at least what it holds initially. */
export function maximum<const Of extends string>(of: Of, initially?: number): Column<Of> {
  return { guard: 'maximum', of, initially };
}

/** Keeps what came with the greatest version: nothing, if that event left an optional field out. */
export function newest<const Of extends string>(
  of: Of,
  { by, initially }: { readonly by: Of; readonly initially?: number | boolean },
): Column<Of> {
  return { guard: 'version', of, by, initially };
}

/** A table that effects are added up into. */
export interface Projection {
  /** Its name in the schema `collector`. */
  readonly table: string;
  /** What is kept, for people: 'Views and sales of each product'. */
  readonly about: string;
  readonly effects: Effects;
  /** The columns of the effects that its rows are told apart by. */
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, Column>>;
  /** Whether `updated_at` says when a row was last written. */
  readonly stamped?: boolean;
}

type EffectColumn<C> = Extract<keyof C, string> | keyof typeof columnsOfEvent;

/**
 * Declares a table. `npm run generate` registers its file and writes its migration.
 *
 * @throws DeclarationError when a name cannot be one, a snapshot's version is kept nowhere, an event
 *   tells a snapshot without it, or a column takes in what no event tells of a row of this table
 */
export function projection<C extends Readonly<Record<string, SqlType>>>(
  declared: Omit<Projection, 'effects' | 'key' | 'columns'> & {
    readonly effects: Effects<C>;
    readonly key: readonly NoInfer<EffectColumn<C>>[];
    readonly columns: Readonly<Record<string, Column<NoInfer<EffectColumn<C>>>>>;
  },
): Projection {
  assertNames(declared);
  assertTypes(declared);
  for (const { of, by } of Object.values(declared.columns)) {
    if (by === undefined) continue;
    versionColumn(declared, by);
    const unversioned = declared.effects.sources.find(
      ({ values }) => values[of] !== undefined && !isCertain(values[by]),
    );
    if (unversioned !== undefined) {
      throw new DeclarationError(
        `${unversioned.type} tells ${of} without ${by}, by which ${declared.table} keeps the newest: add it to ${declared.effects.name}.`,
      );
    }
  }
  assertSnapshotsTold(declared);
  assertFed(declared);
  return declared;
}

function assertNames({ table, about, effects, key, columns, stamped }: Projection): void {
  const own = Object.keys(columns);
  for (const name of [table, effects.name, ...Object.keys(effects.columns), ...own]) {
    if (!/^[a-z][a-z0-9_]*$/.test(name) || reservedWords.has(name)) {
      throw new DeclarationError(
        `${name} is no name for a table or column: use a-z, 0-9 and _, and no reserved word of SQL.`,
      );
    }
  }
  const taken = [...key, ...(stamped === true ? ['updated_at'] : [])];
  const twice = own.find((name) => taken.includes(name));
  if (twice !== undefined) throw new DeclarationError(`${table} has the column ${twice} twice.`);
  if (/\n/.test(about)) throw new DeclarationError(`Say in one line what ${table} keeps.`);
}

/** Only amounts add up, and only amounts and times have a greatest in any order. */
function assertTypes({ table, effects, columns }: Projection): void {
  for (const [name, { guard, of, by }] of Object.entries(columns)) {
    const type = typeOf(effects, of);
    const isAmount = type === 'bigint' || type === 'numeric';
    const isTime = type === 'timestamptz' || type === 'date';
    if (guard === 'event-id' ? !isAmount : guard === 'maximum' && !isAmount && !isTime) {
      throw new DeclarationError(
        `${table}.${name}: ${of} is ${type}, which has no sum or maximum.`,
      );
    }
    if (by !== undefined && typeOf(effects, by) !== 'bigint') {
      throw new DeclarationError(`${table}.${name}: the version ${by} has to be a bigint.`);
    }
  }
}

/**
 * Words that SQL takes for itself (https://www.postgresql.org/docs/18/sql-keywords-appendix.html), and
 * names that statements.ts uses.
 */
const reservedWords = new Set(
  (
    'all analyse analyze and any array as asc asymmetric both case cast check collate column ' +
    'constraint create current_date current_role current_time current_timestamp current_user default ' +
    'deferrable desc distinct do else end except false fetch for foreign from grant group having in ' +
    'initially intersect into lateral leading limit localtime localtimestamp not null offset on only ' +
    'or order placing primary references returning select session_user some symmetric system_user ' +
    'table then to trailing true union unique user using variadic when where window with ' +
    'event_id type occurred_at day data item event handled logged fence notified counted ranked ' +
    'expected stored position'
  ).split(' '),
);

// An event that does not fill the key adds nothing to this table, whatever else it tells.
function assertFed(declared: Projection): void {
  const { table, effects, key, columns } = declared;
  const sources = sourcesOf(declared);
  for (const [name, { of }] of Object.entries(columns)) {
    if (of in columnsOfEvent || sources.some(({ values }) => values[of] !== undefined)) continue;
    throw new DeclarationError(
      `${table}.${name} never changes: no event of ${effects.name} that tells ${of} fills its key, ${key.join(' and ')}.`,
    );
  }
}

/** An event that tells a version without its snapshot would be the newest, and clear the column. */
function assertSnapshotsTold(projection: Projection): void {
  const { table, effects, columns } = projection;
  for (const { of, by } of Object.values(columns)) {
    if (by === undefined) continue;
    const empty = sourcesOf(projection).find(
      ({ values }) => values[of] === undefined && values[by] !== undefined,
    );
    if (empty === undefined) continue;
    throw new DeclarationError(
      `${empty.type} tells ${by} without ${of}, which ${table} would lose by it: give ${of} a version of its own in ${effects.name}.`,
    );
  }
}

/** The column of a table that holds the version of its snapshots. */
export function versionColumn(
  { table, columns }: Pick<Projection, 'table' | 'columns'>,
  by: string,
): string {
  const found = Object.entries(columns).find(
    ([, { guard, of }]) => guard === 'maximum' && of === by,
  );
  if (found !== undefined) return found[0];
  throw new DeclarationError(`${table} keeps no maximum of ${by}, by which it keeps the newest.`);
}

/** Columns that all effects have, from the event's envelope. */
const columnsOfEvent = { occurred_at: 'timestamptz', day: 'date' } as const;

/** The type of a column of effects. */
export function typeOf(
  { name, columns }: Effects,
  column: string,
): SqlType | 'timestamptz' | 'date' {
  const type = { ...columns, ...columnsOfEvent }[column];
  if (type !== undefined) return type;
  throw new DeclarationError(`${name} has no column ${column}.`);
}

/** Whether a column's value is never null. */
export function isCertain(
  value: Effects['sources'][number]['values'][string] | undefined,
): boolean {
  switch (value?.kind) {
    case undefined:
      return false;
    case 'field':
      return !value.optional;
    case 'negative':
      return isCertain(value.of);
    case 'number':
    case 'either':
      return true;
  }
}

/**
 * The event types whose effects concern a table, and whether each of their rows does: those that fill
 * its key, and say something of its columns.
 */
export function sourcesOf({ effects, key, columns }: Projection): Effects['sources'] {
  const read = Object.values(columns).map(({ of }) => of);
  const fromEvent = (column: string): boolean => column in columnsOfEvent;
  return effects.sources.filter(
    ({ values }) =>
      key.every((column) => fromEvent(column) || values[column] !== undefined) &&
      (read.some(fromEvent) || read.some((column) => values[column] !== undefined)),
  );
}
