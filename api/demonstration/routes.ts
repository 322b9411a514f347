/** Demonstration of the pipeline, for operators, where `DEMONSTRATION` allows it. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema, eventIdSchema } from '../../events/identifiers';
import type { PlacedOrder } from './scenarios';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { Problem, problemSchema } from '../http/problem';
import { productCommandProblems } from '../products/named-product';
import { demonstrationOrder, redelivery, sentMessage } from './schemas';

/** `POST /demonstration/orders`, `…/redeliveries` and `…/poison`; none where it is not allowed. */
export function demonstrationRoutes({ demonstration }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    if (demonstration === undefined) return;
    app.post(
      '/demonstration/orders',
      {
        config: {
          operation: {
            operationId: 'demonstrateOrder',
            tag: 'Demonstration',
            summary: 'Place an order, for a new product if none is in stock',
            key: 'operator',
            problems: [...productCommandProblems, 'OUT_OF_STOCK', 'ORDER_CANCELLED'],
            example: {
              url: '/v1/demonstration/orders',
              body: { productId: '$PRODUCT' },
              after: 'NEW_PRODUCT',
            },
          },
        },
        schema: { body: newOrder, response: { 201: demonstrationOrder, default: problemSchema } },
      },
      async (request, reply) => {
        const { productId, all = false } = request.body ?? {};
        const ids = {
          orderId: request.deriveId('order'),
          productId: request.deriveId('product'),
          isRepeat: request.isRepeat,
        };
        const placed = await demonstration.order(ids, { productId, all });
        return reply.code(201).send(toAnswer(placed));
      },
    );

    app.post(
      '/demonstration/redeliveries',
      {
        config: {
          operation: {
            operationId: 'demonstrateRedelivery',
            tag: 'Demonstration',
            summary: 'Redeliver an event to its topic',
            key: 'operator',
            problems: [...databaseProblems, 'KAFKA_UNAVAILABLE', 'EVENT_NOT_FOUND'],
            example: { url: '/v1/demonstration/redeliveries', body: {} },
          },
        },
        schema: { body: newRedelivery, response: { 201: redelivery, default: problemSchema } },
      },
      async (request, reply) => {
        const sent = await demonstration.redeliver(request.body?.eventId);
        return reply.code(201).send({ ...sent, handledAt: sent.handledAt.toISOString() });
      },
    );

    app.post(
      '/demonstration/poison',
      {
        config: {
          operation: {
            operationId: 'demonstratePoison',
            tag: 'Demonstration',
            summary: 'Send a poison message',
            key: 'operator',
            problems: [...databaseProblems, 'KAFKA_UNAVAILABLE'],
            example: { url: '/v1/demonstration/poison', body: {} },
          },
        },
        schema: { body: nothing, response: { 201: sentMessage, default: problemSchema } },
      },
      async (_, reply) => reply.code(201).send(await demonstration.poison()),
    );
  };
}

const newOrder = z
  .strictObject({
    productId: aggregateIdSchema
      .optional()
      .describe('default: the product in stock with the fewest units left, or a new one'),
    all: z.boolean().optional().describe('order all units in stock instead of one'),
  })
  .nullish();

const newRedelivery = z
  .strictObject({
    eventId: eventIdSchema.optional().describe('default: the event that was handled last'),
  })
  .nullish();

const nothing = z.strictObject({}).nullish();

function toAnswer({
  orderId,
  product,
  quantity,
  outcome,
}: PlacedOrder): z.output<typeof demonstrationOrder> {
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
