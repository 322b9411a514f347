/** A page of a list as it is answered. */
import { z } from 'zod';

/** Where the next page begins. */
const nextCursor = z.string().nullable().describe('null on the last page');

/** A page of such items. @param order in which order they come, where that is not obvious */
export function pageSchema<Item extends z.ZodType>(item: Item, order?: string) {
  const items = z.array(item);
  return z.object({ items: order === undefined ? items : items.describe(order), nextCursor });
}

/** A page of such items, in an answer. */
export type Page<Item> = z.output<ReturnType<typeof pageSchema<z.ZodType<Item>>>>;
