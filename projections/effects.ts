/**
 * What events do to things of one kind, as declarations: one file in `effects/` for each kind of thing.
 *
 * A declaration is data: `statements.ts` turns it into SQL, and the tests' model (`testkit/`) reads it
 * without SQL, so that the two can be compared.
 */
import { z } from 'zod';
import { definitionOf, eventTypes, type EventData, type EventType } from '../events/schemas';

/** The types of columns, and what TypeScript takes their values for. */
interface SqlTypes {
  readonly text: string;
  /** A whole number up to 2^63. */
  readonly bigint: number;
  /** A whole number without a limit: for sums of amounts that are large themselves. */
  readonly numeric: number;
  readonly boolean: boolean;
}

/** The type of a column of effects. */
export type SqlType = keyof SqlTypes;

/** A value of type `T`, taken from an event. */
export type Expression<T = unknown> = { readonly is?: T } & (
  | {
      readonly kind: 'field';
      /** Of the event's data, or of the item of the list that {@link each} goes through. */
      readonly of: 'data' | 'item';
      readonly name: string;
      readonly reads: 'whole-number' | 'boolean' | 'text';
      /** Whether the schema allows it to be missing: then it is null. */
      readonly optional: boolean;
    }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'negative'; readonly of: Expression<number> }
  | {
      readonly kind: 'either';
      readonly condition: Expression<boolean>;
      readonly yes: number;
      readonly no: number;
    }
);

/** The fields of an event's data, for a declaration to take apart. */
export type Fields<D> = {
  readonly [K in keyof D]-?: NonNullable<D[K]> extends readonly (infer Item)[]
    ? List<Item>
    : Expression<NonNullable<D[K]>>;
};

/** A list in an event's data. */
export interface List<Item> {
  readonly name: string;
  readonly item: Fields<Item>;
}

type Types = Readonly<Record<string, SqlType>>;

/** What an event says of one thing that it touches; null where it says nothing. */
export type Row<C extends Types> = {
  readonly [Name in keyof C]?:
    Expression<SqlTypes[C[Name]]> | (SqlTypes[C[Name]] extends number ? number : never);
};

/** A row for each item of a list, or rows on a condition. */
export interface Rows<R> {
  readonly row: R;
  readonly list?: string;
  readonly condition?: Expression<boolean>;
}

/** The event does nothing to things of this kind. */
export const nothing = (): undefined => undefined;

/** A row for each item of a list. */
export function each<Item, R>(list: List<Item>, rowOf: (item: Fields<Item>) => R): Rows<R> {
  return { row: rowOf(list.item), list: list.name };
}

/**
 * The rows, only if a condition holds.
 *
 * @throws DeclarationError when they have a condition already
 */
export function when<R>(condition: Expression<boolean>, rows: Rows<R>): Rows<R> {
  if (rows.condition !== undefined)
    throw new DeclarationError('Rows have one condition: one when.');
  return { ...rows, condition };
}

/** The negative of a number. */
export function negative(of: Expression<number>): Expression<number> {
  return { kind: 'negative', of };
}

/** One number or another. */
export function either(
  condition: Expression<boolean>,
  yes: number,
  no: number,
): Expression<number> {
  return { kind: 'either', condition, yes, no };
}

/** What events do to things of one kind. Besides its own columns it has `occurred_at` and `day` (UTC). */
export interface Effects<C extends Types = Types> {
  /** What a row is, such as `product_effect`. */
  readonly name: string;
  readonly columns: C;
  readonly sources: readonly Source[];
}

/** The rows of one event type. */
export interface Source {
  readonly type: EventType;
  /** What it says, by column. */
  readonly values: Readonly<Record<string, Expression>>;
  /** The list that has an item for each row; undefined for one row. */
  readonly list: string | undefined;
  /** There are rows only if this holds. */
  readonly condition: Expression<boolean> | undefined;
}

/**
 * Declares what each event type does: a row, several, or {@link nothing}.
 *
 * @throws DeclarationError when it reads a field that SQL cannot, or about which a type's versions
 *   disagree, a row fills a column that is not declared, or none fills one that is
 */
export function effects<const C extends Types>(declared: {
  readonly name: string;
  readonly columns: C;
  readonly on: {
    readonly [T in EventType]: (
      data: Fields<EventData<T>>,
    ) => Row<NoInfer<C>> | Rows<Row<NoInfer<C>>> | undefined;
  };
}): Effects<C> {
  const { name, columns, on } = declared;
  const sources = eventTypes.flatMap((type) => {
    const tell = on[type] as (data: unknown) => Row<C> | Rows<Row<C>> | undefined;
    const told = tell(fieldsOf(type));
    if (told === undefined) return [];
    const { row, list, condition } = isRows(told) ? told : ({ row: told } satisfies Rows<Row<C>>);
    return [{ type, values: expressionsOf(row), list, condition }];
  });
  assertFilled({ name, columns, sources });
  return { name, columns, sources };
}

// Types let a row fill a column too many: what a function returns may have more than is asked for.
function assertFilled({ name, columns, sources }: Effects): void {
  for (const { type, values } of sources) {
    const unknown = Object.keys(values).find((column) => !Object.hasOwn(columns, column));
    if (unknown !== undefined) {
      throw new DeclarationError(
        `${type} fills ${unknown}, which is no column of ${name}: declare it in projections/effects/.`,
      );
    }
  }
  const unfilled = Object.keys(columns).find((column) =>
    sources.every(({ values }) => values[column] === undefined),
  );
  if (unfilled !== undefined) {
    throw new DeclarationError(
      `No event fills ${unfilled} of ${name}: say in projections/effects/ which one does, or delete the column.`,
    );
  }
}

/** A declaration that cannot mean anything. The message names what to change. */
export class DeclarationError extends Error {
  override readonly name = 'DeclarationError';
  readonly code = 'DECLARATION_INVALID';
}

function isRows<R extends object>(told: R | Rows<R>): told is Rows<R> {
  return 'row' in told;
}

function expressionsOf(row: object): Record<string, Expression> {
  const values = Object.entries(row) as [string, Expression | number][];
  return Object.fromEntries(
    values.map(([column, value]): [string, Expression] => [
      column,
      typeof value === 'number' ? { kind: 'number', value } : value,
    ]),
  );
}

/** The fields of a type, as every version of its schema says that they are read. */
function fieldsOf(type: EventType): object {
  const [first, ...others] = Object.values(definitionOf(type).versions).map((schema) =>
    readSchema(schema, 'data', type),
  );
  const fields: Record<string, Field> = {};
  for (const [name, field] of Object.entries(first ?? {})) {
    const isAgreed = others.every((other) => JSON.stringify(other[name]) === JSON.stringify(field));
    fields[name] = isAgreed
      ? field
      : { refused: `The versions of ${type} disagree about its field ${name}.` };
  }
  return takingApart(fields);
}

/** A field as a declaration gets it, or why it cannot. */
type Field = { readonly refused: string } | Extract<Expression, { kind: 'field' }> | ListField;

interface ListField {
  readonly name: string;
  readonly item: Readonly<Record<string, Field>>;
}

function readSchema(
  { shape }: z.ZodObject,
  of: 'data' | 'item',
  type: EventType,
): Record<string, Field> {
  const fields = Object.entries(shape).map(([name, given]): [string, Field] => {
    const optional = given instanceof z.ZodOptional;
    const field: unknown = optional ? given.unwrap() : given;
    const item = field instanceof z.ZodArray ? field.element : undefined;
    if (item instanceof z.ZodObject && of === 'data') {
      return [name, { name, item: readSchema(item, 'item', type) }];
    }
    const reads = readingOf(field);
    if (reads !== undefined) return [name, { kind: 'field', of, name, reads, optional }];
    const refused =
      `No effect can be made of the field ${name} of ${type}: what can be read is whole numbers, ` +
      'booleans, text, enums, and the items of a list of objects.';
    return [name, { refused }];
  });
  return Object.fromEntries(fields);
}

/** The fields, of which one that is refused throws once a declaration takes it. */
function takingApart(fields: Readonly<Record<string, Field>>): object {
  const taken = {};
  for (const [name, field] of Object.entries(fields)) {
    const get = (): object => {
      if ('refused' in field) throw new DeclarationError(field.refused);
      return 'item' in field ? { name: field.name, item: takingApart(field.item) } : field;
    };
    Object.defineProperty(taken, name, { get, enumerable: true });
  }
  return taken;
}

function readingOf(field: unknown): Extract<Expression, { kind: 'field' }>['reads'] | undefined {
  if (field instanceof z.ZodNumber) return field.format === 'safeint' ? 'whole-number' : undefined;
  if (field instanceof z.ZodBoolean) return 'boolean';
  // The formats of text, such as that of a UUID, have classes of their own.
  return field instanceof z.core.$ZodString || field instanceof z.ZodEnum ? 'text' : undefined;
}
