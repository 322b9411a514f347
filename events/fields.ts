/** The fields that several event types have in common. */
import { z } from 'zod';
import { aggregateIdSchema } from './identifiers';

/** An amount of money. */
export const amount = z.int().min(0).describe('integer in the smallest currency unit');

/** How many units of a product an order line has. */
const quantity = z.int().min(1);

/** Units in stock. */
export const stockLevel = z.int().min(0);

/** The version of what the event tells: the newest wins, in whatever order events arrive. */
export const version = z
  .int()
  .min(1)
  .describe('counts up by one at each change of the stock or the likes of the product');

/** One line of an order as its events carry it. */
const orderItem = z.object({
  productId: aggregateIdSchema,
  quantity,
  unitPrice: amount,
});

/** The lines of an order. */
export const orderItems = z.array(orderItem).min(1);

/** A line of an order: product, quantity (from 1 up) and price of one unit in the smallest currency unit. */
export type OrderItem = z.infer<typeof orderItem>;
