/** Playing with the pipeline, for operators, where `DEMONSTRATION` allows it. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema, eventIdSchema } from '../../events/identifiers';
import type { PlacedOrder } from './scenarios';
import type { Services } from '../http/dependencies';
import { requireRole } from '../http/plugins/authentication';
import { Problem, problemSchema } from '../http/problem';

/** `POST /demonstration/orders`, `…/redeliveries` and `…/poison`; none where it is not allowed. */
export function demonstrationRoutes({ demonstration }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    if (demonstration === undefined) return;
    app.addHook('onRequest', requireRole('operator'));

    app.post(
      '/demonstration/orders',
      { schema: { body: newOrder, response: { 201: order, default: problemSchema } } },
      async (request, reply) => {
        const { productId, all = false } = request.body ?? {};
        const ids = { orderId: request.deriveId('order'), productId: request.deriveId('product') };
        const placed = await demonstration.order(ids, { productId, all });
        return reply.code(201).send(toAnswer(placed));
      },
    );

    app.post(
      '/demonstration/redeliveries',
      { schema: { body: newRedelivery, response: { 201: redelivery, default: problemSchema } } },
      async (request, reply) => {
        const sent = await demonstration.redeliver(request.body?.eventId);
        return reply.code(201).send({ ...sent, handledAt: sent.handledAt.toISOString() });
      },
    );

    app.post(
      '/demonstration/poison',
      { schema: { body: nothing, response: { 201: sentMessage, default: problemSchema } } },
      async (_, reply) => reply.code(201).send(await demonstration.poison()),
    );
  };
}

const newOrder = z
  .strictObject({
    productId: aggregateIdSchema
      .optional()
      .describe('unset: the product in stock of which the fewest are left, or a new one'),
    all: z.boolean().optional().describe('whether to buy all that there are, instead of one'),
  })
  .nullish();

const order = z.object({
  orderId: z.string(),
  productId: z.string(),
  name: z.string(),
  quantity: z.int(),
  totalAmount: z.int().describe('in the smallest currency unit'),
});

const newRedelivery = z
  .strictObject({
    eventId: eventIdSchema.optional().describe('unset: the event that was handled last'),
  })
  .nullish();

const sentMessage = z.object({ topic: z.string(), partition: z.int(), offset: z.int() });

const redelivery = sentMessage.extend({
  eventId: z.string(),
  type: z.string(),
  handledAt: z.iso.datetime().describe('when the event was handled, the one time that it is'),
  workflowId: z.string(),
});

const nothing = z.strictObject({}).nullish();

function toAnswer({ orderId, product, quantity, outcome }: PlacedOrder): z.infer<typeof order> {
  const { productId, name } = product;
  switch (outcome.kind) {
    case 'confirmed':
      return { orderId, productId, name, quantity, totalAmount: outcome.totalAmount };
    case 'out-of-stock':
      throw new Problem('OUT_OF_STOCK', {
        detail: `Only ${outcome.stock} of ${name} are left.`,
        orderId,
      });
    case 'cancelled':
      throw new Problem('ORDER_CANCELLED', {
        detail: `The order was cancelled: ${outcome.reason}`,
        orderId,
      });
    case 'unknown-product':
    case 'unknown-order':
      throw new Problem('PRODUCT_NOT_FOUND', { detail: `There is no product ${productId}.` });
  }
}
