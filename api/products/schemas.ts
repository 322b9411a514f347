/** Products in answers. */
import { z } from 'zod';
import { aggregateIdSchema } from '../../events/identifiers';
import { pageSchema } from '../http/page-schema';

/** The product detail. Only fields whose change evicts the cached detail. */
export const productDetailSchema = z.object({
  productId: aggregateIdSchema,
  name: z.string(),
  price: z.int().describe('in the smallest currency unit'),
  soldOut: z.boolean(),
  likeCount: z.int().describe('exact below 1,000; rounded down to hundreds from there'),
});

/** A page of products. */
export const productPage = pageSchema(productDetailSchema);

/** A registered product. */
export const registeredProduct = z.object({
  productId: aggregateIdSchema,
  name: z.string(),
  price: z.int(),
  stock: z.int(),
  version: z.int(),
  eventId: z.string(),
});

/** An adjusted stock. */
export const adjustedStock = z.object({
  stock: z.int().describe('after the change'),
  version: z.int(),
  eventId: z.string(),
});

/** The like of a user. */
export const likeSchema = z.object({
  liked: z.boolean(),
  likeCount: z.int().describe('number of users who like the product'),
});
