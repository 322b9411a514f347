/** Finds which products other transactions keep locked. */
import type { Queryable } from '../../platform/postgres/pool';

/**
 * Those of these products whose rows are locked at this moment. Waits for none of them.
 *
 * @throws whatever the database does, also when another transaction has locked the whole table
 */
export type FindLockedProducts = (productIds: readonly string[]) => Promise<readonly string[]>;

/** Looks by locking those that are free, for as long as the statement takes. */
export function createLockedProductFinder(database: Queryable): FindLockedProducts {
  return async (productIds) => {
    const { rows } = await database.query<{ productId: string }>({
      name: 'products-locked',
      text: `
        WITH free AS MATERIALIZED (
          SELECT product_id FROM commerce.products WHERE product_id = ANY($1::text[])
          FOR NO KEY UPDATE SKIP LOCKED
        )
        SELECT product_id AS "productId" FROM commerce.products
        WHERE product_id = ANY($1::text[]) AND product_id NOT IN (SELECT product_id FROM free)`,
      values: [productIds],
    });
    return rows.map(({ productId }) => productId);
  };
}
