/** `adjustStock`: changes the stock of a product by a number of units. */
import { z } from 'zod';
import { defineCommand } from '../command-definition';
import { aggregateIdSchema } from '../identifiers';

export const adjustStock = defineCommand<StockOutcome>()({
  name: 'adjustStock',
  workflowIdPrefix: 'stock-adjustment-',
  input: z.strictObject({
    adjustmentId: z.string(),
    productId: aggregateIdSchema,
    delta: z.int().describe('units to add; negative to remove'),
    reason: z.enum(['restock', 'correction']),
  }),
  key: 'adjustmentId',
  aggregate: 'productId',
  summary: ({ productId, delta, reason }) => `Adjust stock of ${productId} by ${delta}: ${reason}`,
});

export type AdjustStock = z.output<typeof adjustStock.input>;

/** Outcome of a stock change; all but `adjusted` changed nothing. */
export type StockOutcome =
  | {
      readonly kind: 'adjusted';
      /** Units after the change. */
      readonly stock: number;
      readonly version: number;
      readonly eventId: string;
    }
  | { readonly kind: 'unknown-product' }
  /** The stock would have fallen below 0 or risen above 2^52; `stock` is the current stock. */
  | { readonly kind: 'stock-out-of-range'; readonly stock: number };
