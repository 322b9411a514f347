/** Orders for operators: the list of all, and what has happened to one. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema } from '../../events/identifiers';
import { ageInSeconds, agePattern } from '../../operations/age';
import { orderListParts, type ListedOrder } from '../../operations/order-list';
import { timestampPart } from '../http/cursor';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { pageLimitSchema, pageOrder, readPage } from '../http/pages';
import { problemSchema } from '../http/problem';
import { orderParams, unknownOrder } from './routes';
import { orderPage, orderStatus, orderTimeline } from './schemas';

/** `GET /orders` and `GET /orders/{orderId}/timeline`. */
export function orderInspectionRoutes({ orderOperations }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/orders',
      {
        config: {
          operation: {
            operationId: 'listOrders',
            tag: 'Orders',
            summary: 'List orders',
            description:
              'Undecided orders come first, the oldest of them first; decided ones follow, newest first. ' +
              'The stuck ones: `status=PLACED&older-than=10s`.',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/orders?status=PLACED&older-than=10s' },
          },
        },
        schema: { querystring: listQuery, response: { 200: orderPage, default: problemSchema } },
      },
      async ({ query }) => {
        const { limit, after: cursor, user, product, status, 'older-than': age } = query;
        const olderThanSeconds = age === undefined ? undefined : ageInSeconds(age);
        const filter = { status, userId: user, productId: product, olderThanSeconds };
        return readPage({ limit, cursor }, inList, (page) => orderOperations.list(filter, page));
      },
    );

    app.get(
      '/orders/:orderId/timeline',
      {
        config: {
          operation: {
            operationId: 'findOrderTimeline',
            tag: 'Orders',
            summary: 'Get what has happened to an order, and what it waits for',
            description:
              'From the database and from the workflow of the order. The payment gateway is not asked: ' +
              'what it has said is told by the tries.',
            key: 'operator',
            problems: [...databaseProblems, 'ORDER_NOT_FOUND'],
            example: { url: '/v1/orders/$ORDER/timeline', after: 'ORDER' },
          },
        },
        schema: {
          params: orderParams,
          response: { 200: orderTimeline, default: problemSchema },
        },
      },
      async ({ params: { orderId } }) => {
        const found = await orderOperations.findTimeline(orderId);
        if (found === undefined) throw unknownOrder(orderId);
        return found;
      },
    );
  };
}

const listQuery = z.strictObject({
  status: orderStatus.optional(),
  user: aggregateIdSchema.optional().describe('only orders of this user'),
  product: aggregateIdSchema.optional().describe('only orders with this product'),
  'older-than': z
    .string()
    .regex(agePattern, 'must be an age such as 10s, 5m, 2h or 1d')
    .optional()
    .describe('only orders placed at least as long ago, such as 10s, 5m, 2h or 1d'),
  after: z.string().optional().describe('cursor of an earlier page'),
  limit: pageLimitSchema,
});

const inList = pageOrder(
  [z.enum(orderListParts), timestampPart, aggregateIdSchema],
  ({ position }: ListedOrder) => position,
  'after',
);
