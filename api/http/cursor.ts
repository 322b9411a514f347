/** Cursors: opaque positions in a list. */
import { z } from 'zod';
import { invalidField } from './problem';

/** The shape of each part of a position. */
export type CursorParts = readonly z.ZodType<string>[];

/** A position of such parts. */
export type PositionOf<Parts extends CursorParts> = { readonly [Index in keyof Parts]: string };

/** The cursor of a position. */
export function writeCursor(position: readonly string[]): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

/**
 * The position of a cursor.
 *
 * @param parts the shape of each part of the position
 * @param field the parameter that carries the cursor
 * @throws Problem 400 for anything that is not a cursor of this list
 */
export function readCursor<const Parts extends CursorParts>(
  cursor: string,
  parts: Parts,
  field: string,
): PositionOf<Parts> {
  const position = parseJson(Buffer.from(cursor, 'base64url').toString());
  const matches =
    Array.isArray(position) &&
    position.length === parts.length &&
    parts.every((part, index) => part.safeParse(position[index]).success);
  if (!matches) throw invalidField(field, 'must be the cursor of an earlier page');
  return position as PositionOf<Parts>;
}

// The parts below are what goes into PostgreSQL as something other than text. Each lets through only
// what its type accepts, since what PostgreSQL refuses would be a 500.

/** The ID of a transaction, an `xid8`. */
export const transactionPart = z.string().regex(/^\d{1,19}$/);

/**
 * A figure as it is ranked by. They are whole numbers; a fraction is let through, so that no figure
 * whatever gives a page whose cursor is then refused.
 */
export const figurePart = z.string().regex(/^-?\d{1,40}(\.\d{1,1000})?$/);

/** A `timestamptz` as PostgreSQL writes it, with all of its digits. */
export const timestampPart = z
  .string()
  .regex(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-](0\d|1[0-5])(:[0-5]\d){0,2}$/)
  .refine((text) => {
    const [date = '', time = ''] = text.split(' ');
    const isThere = z.iso.datetime().safeParse(`${date}T${time.slice(0, 8)}Z`).success;
    return isThere && !date.startsWith('0000');
  });

/** A snapshot, a `pg_snapshot`: PostgreSQL takes only those whose numbers are in order. */
export const snapshotPart = z
  .string()
  .regex(/^\d{1,19}:\d{1,19}:(\d{1,19}(,\d{1,19})*)?$/, { abort: true })
  .refine((text) => {
    const numbers = text.split(/[:,]/).filter((digits) => digits !== '');
    const [first = 0n, next = 0n, ...running] = numbers.map(BigInt);
    const lowest = [first, ...running];
    return (
      isTransaction(first) &&
      isTransaction(next) &&
      first <= next &&
      running.every((number, index) => lowest[index]! <= number && number < next)
    );
  });

// The lower 32 bits are the transaction's own number, and 0 is none.
function isTransaction(number: bigint): boolean {
  return BigInt.asUintN(32, number) !== 0n;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
