/** The product that a URL names: its parameter, and the answer where there is none. */
import { z } from 'zod';
import { aggregateIdSchema } from '../../events/identifiers';
import type { Services } from '../http/dependencies';
import { commandProblems, databaseProblems } from '../http/operation';
import { Problem } from '../http/problem';

/** The problems of a command about a product. */
export const productCommandProblems = [
  ...databaseProblems,
  ...commandProblems,
  'PRODUCT_NOT_FOUND',
] as const;

/** The parameters of every route below a product. */
export const productParams = z.strictObject({ productId: aggregateIdSchema });

/** The 404 for a product that does not exist. */
export function unknownProduct(productId: string): Problem {
  const message = `there is no product ${productId}`;
  return new Problem('PRODUCT_NOT_FOUND', {
    detail: `There is no product ${productId}.`,
    errors: [{ field: 'productId', message }],
  });
}

/** Rejects an unknown product before a workflow is started. @throws Problem 404 */
export async function checkProduct(
  { productDetails }: Services,
  { productId }: { readonly productId: string },
): Promise<void> {
  if (!(await productDetails.findPrices([productId])).has(productId)) {
    throw unknownProduct(productId);
  }
}
