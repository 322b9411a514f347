/** `registerProduct`: adds a product to the catalog. */
import { z } from 'zod';
import { defineCommand } from '../command-definition';
import { aggregateIdSchema } from '../identifiers';
import { storableText } from '../storable-text';

export const registerProduct = defineCommand<ProductRegistration>()({
  name: 'registerProduct',
  workflowIdPrefix: 'product-',
  input: z.strictObject({
    productId: aggregateIdSchema,
    name: storableText(200),
    price: z.int().min(0).describe('in the smallest currency unit'),
    stock: z.int().min(0).describe('initial units in stock'),
  }),
  key: 'productId',
  aggregate: 'productId',
  summary: ({ name }) => `Register product '${name}'`,
});

export type RegisterProduct = z.output<typeof registerProduct.input>;

/**
 * Outcome of a registration: the product as it was registered first. Its ID is another than was asked for where
 * a restore has lost that product, of which more may have been told.
 */
export interface ProductRegistration extends RegisterProduct {
  readonly version: number;
  readonly eventId: string;
}
