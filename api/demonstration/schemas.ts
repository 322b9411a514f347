/** Results of a demonstration in answers. */
import { z } from 'zod';

/** An order that was placed. */
export const demonstrationOrder = z.object({
  orderId: z.string(),
  productId: z.string(),
  name: z.string(),
  quantity: z.int(),
  totalAmount: z.int().describe('in the smallest currency unit'),
});

/** Partition and offset of a message. */
export const sentMessage = z.object({ topic: z.string(), partition: z.int(), offset: z.int() });

/** A redelivered event. */
export const redelivery = sentMessage.extend({
  eventId: z.string(),
  type: z.string(),
  handledAt: z.iso.datetime().describe('when the event was handled, the only time'),
  workflowId: z.string(),
});
