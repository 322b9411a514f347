/** Paging through a list: nothing is left out or repeated, and the last page says that it is. */
import fc from 'fast-check';
import { z } from 'zod';
import { pageOrder, readPage, type PageRequest } from '../../api/http/pages';

interface Item {
  readonly id: string;
}

const order = pageOrder([z.string()], ({ id }: Item) => [id]);

/** Reads of a list that is sorted by its IDs. */
function readsOf(list: readonly Item[]) {
  return async ({ limit, after }: PageRequest<readonly [id: string]>): Promise<Item[]> =>
    list.filter(({ id }) => after === undefined || id > after[0]).slice(0, limit);
}

test('following the cursors gives every item once, in order, on pages that are full', async () => {
  const ids = fc.uniqueArray(fc.string({ minLength: 1 }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(ids, fc.integer({ min: 1, max: 10 }), async (drawn, limit) => {
      const list = drawn.sort().map((id) => ({ id }));
      const seen: Item[] = [];
      let cursor: string | undefined;
      do {
        const page = await readPage({ limit, cursor }, order, readsOf(list));
        if (page.nextCursor !== null) expect(page.items).toHaveLength(limit);
        seen.push(...page.items);
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined);
      expect(seen).toEqual(list);
    }),
  );
});

test('a list that ends with its page has no next one', async () => {
  const page = await readPage({ limit: 2 }, order, readsOf([{ id: 'a' }, { id: 'b' }]));
  expect(page).toEqual({ items: [{ id: 'a' }, { id: 'b' }], nextCursor: null });
});

test('what is no cursor of the list is refused before anything is read', async () => {
  const read = jest.fn();
  const after = pageOrder([z.string()], ({ id }: Item) => [id], 'after');
  await expect(readPage({ limit: 2, cursor: 'tea' }, after, read)).rejects.toMatchObject({
    status: 400,
    errors: [{ field: 'after' }],
  });
  expect(read).not.toHaveBeenCalled();
});
