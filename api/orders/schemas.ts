/** Orders in answers. */
import { z } from 'zod';

const amount = z.int().describe('in the smallest currency unit');

/** An order that was confirmed. */
export const placedOrder = z.object({
  orderId: z.string(),
  status: z.literal('CONFIRMED'),
  totalAmount: amount,
});

/** An order that is not decided yet. */
export const undecidedOrder = z
  .object({
    orderId: z.string(),
    status: z.string().describe('PLACED until the order is decided'),
  })
  .describe(
    'Not decided within 10 seconds; processing continues. Poll the URL in Location, or retry the same ' +
      'request with the same Idempotency-Key to wait for the final answer: a 202 is not replayed.',
  );

/** An order that was cancelled. */
export const cancelledOrder = z.object({
  orderId: z.string(),
  status: z.literal('CANCELLED'),
  reason: z.string(),
});

/** An order. */
export const orderSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: z.enum(['PLACED', 'CONFIRMED', 'CANCELLED']).describe('PLACED: not decided yet'),
  items: z
    .array(z.object({ productId: z.string(), quantity: z.int(), unitPrice: amount }))
    .nullable()
    .describe('null until the stock is reserved'),
  totalAmount: amount.nullable().describe('null until the stock is reserved'),
  reason: z.string().nullable().describe('reason of the cancellation'),
  payment: z
    .object({
      status: z.enum(['captured', 'failed', 'refunded']),
      amount,
      reason: z.string().nullable(),
    })
    .nullable()
    .describe('null until the payment is decided'),
  createdAt: z.iso.datetime().nullable(),
  updatedAt: z.iso.datetime().nullable(),
});
