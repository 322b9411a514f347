/** Cursors: where a page ended, in a form that clients keep without looking into it. */
import { type z } from 'zod';
import { invalidField } from './problem';

/** The cursor of a position. */
export function writeCursor(position: readonly string[]): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

/**
 * The position of a cursor.
 *
 * @param parts the shape of each part of the position
 * @param field the parameter that carries the cursor
 * @throws Problem 400 for anything that no page has given
 */
export function readCursor<const Parts extends readonly z.ZodType<string>[]>(
  cursor: string,
  parts: Parts,
  field: string,
): { [Index in keyof Parts]: string } {
  const position = parseJson(Buffer.from(cursor, 'base64url').toString());
  const matches =
    Array.isArray(position) &&
    position.length === parts.length &&
    parts.every((part, index) => part.safeParse(position[index]).success);
  if (!matches) throw invalidField(field, 'must be the cursor of an earlier page');
  return position as { [Index in keyof Parts]: string };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
