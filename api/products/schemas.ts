/** Products in answers. */
import { z } from 'zod';
import { aggregateIdSchema } from '../../events/identifiers';
import { pageSchema } from '../http/page-schema';

/** What everybody may see of a product. Only what evicts the cached detail when it changes. */
export const productDetailSchema = z.object({
  productId: aggregateIdSchema,
  name: z.string(),
  price: z.int().describe('in the smallest currency unit'),
  soldOut: z.boolean(),
  likeCount: z.int().describe('exact below 1,000, rounded down to hundreds above'),
});

/** A page of products. */
export const productPage = pageSchema(productDetailSchema);

/** A product that was put on sale. */
export const registeredProduct = z.object({
  productId: aggregateIdSchema,
  name: z.string(),
  price: z.int(),
  stock: z.int(),
  version: z.int(),
  eventId: z.string(),
});

/** A stock that was changed. */
export const adjustedStock = z.object({
  stock: z.int().describe('after the change'),
  version: z.int(),
  eventId: z.string(),
});

/** Where a like stands. */
export const likeSchema = z.object({
  liked: z.boolean(),
  likeCount: z.int().describe('users who like the product now'),
});
