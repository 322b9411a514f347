/**
 * Paging, the same for every list: `limit`, the `cursor` of an earlier page, and `nextCursor`.
 *
 * A page begins after the last item of the one before, by that item's position, not by an offset.
 */
import { z } from 'zod';
import { readCursor, writeCursor, type CursorParts, type PositionOf } from './cursor';
import { wholeNumberParameter } from './validation';

/** How many items a page has. */
export const pageLimitSchema = wholeNumberParameter(1, 100).default(20);

/** The query parameters of a list. */
export const pageQuery = z.strictObject({ limit: pageLimitSchema, cursor: z.string().optional() });

/** Which part of a list to read. */
export interface PageRequest<Position> {
  readonly limit: number;
  /** The position of the last item of the page before; from the start without. */
  readonly after?: Position | undefined;
}

/** The sort order of a list, and its cursors. */
export interface PageOrder<Item, Position> {
  /** @throws Problem 400 that names the parameter for what is no cursor of this list */
  positionOf(cursor: string): Position;
  cursorOf(item: Item): string;
}

/**
 * An order of items.
 *
 * @param parts the shape of each part of an item's position
 * @param positionOf an item's position
 * @param parameter the query parameter that carries the cursor
 */
export function pageOrder<Item, const Parts extends CursorParts>(
  parts: Parts,
  positionOf: (item: Item) => PositionOf<Parts>,
  parameter = 'cursor',
): PageOrder<Item, PositionOf<Parts>> {
  return {
    positionOf: (cursor) => readCursor(cursor, parts, parameter),
    cursorOf: (item) => writeCursor(positionOf(item)),
  };
}

/**
 * A page of a list.
 *
 * @param read returns the items after a position; called with `limit + 1`, since an extra item means
 *   that there is a next page
 */
export async function readPage<Item, Position>(
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
  order: PageOrder<Item, Position>,
  read: (page: PageRequest<Position>) => Promise<readonly Item[]>,
): Promise<{ items: Item[]; nextCursor: string | null }> {
  const after = cursor === undefined ? undefined : order.positionOf(cursor);
  const found = await read({ limit: limit + 1, after });
  const items = found.slice(0, limit);
  const last = found.length > limit ? items.at(-1) : undefined;
  return { items, nextCursor: last === undefined ? null : order.cursorOf(last) };
}
