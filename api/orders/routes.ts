/** Orders: place, get and cancel. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Cancellation, OrderLine, OrderOutcome } from '../../events/orders';
import { aggregateIdSchema } from '../../events/identifiers';
import { storableText } from '../../events/storable-text';
import { UndecidedError } from '../commands/temporal-commands';
import type { Services } from '../http/dependencies';
import { commandProblems, databaseProblems } from '../http/operation';
import { checkLines, mergeLines, unknownProduct, unknownProducts } from './lines';
import type { OrderReads, StoredOrder } from './reads';
import { recordCancellation } from './requested-cancellations';
import { cancelledOrder, orderSchema, placedOrder, undecidedOrder } from './schemas';
import { userOf } from '../http/plugins/authorization';
import { Problem, problemSchema } from '../http/problem';
import { productCommandProblems } from '../products/named-product';

/** `POST /orders`, `GET /orders/{orderId}`, `POST /orders/{orderId}/cancel`. */
export function orderRoutes(services: Services): FastifyPluginAsyncZod {
  const { commands, database, orderBound, orderReadsOfChanges, productDetails } = services;
  return async (app) => {
    app.post(
      '/orders',
      {
        config: {
          operation: {
            operationId: 'placeOrder',
            tag: 'Orders',
            summary: 'Place an order',
            description:
              'Tokens of the simulated payment gateway: `tok_approve`, `tok_decline`, `tok_slow`, ' +
              '`tok_lost_answer`, `tok_flaky`, `tok_silent`, `tok_in_progress`.',
            key: 'shopper',
            user: 'required',
            problems: [
              ...productCommandProblems,
              'PAYMENT_FAILED',
              'OUT_OF_STOCK',
              'ORDER_CANCELLED',
              'ORDER_TIMED_OUT',
              'ORDER_NOT_FOUND',
              'TOO_MANY_ORDERS',
            ],
            headers: { 201: ['Location'], 202: ['Location'] },
            example: {
              url: '/v1/orders',
              body: {
                items: [{ productId: '$PRODUCT', quantity: 1 }],
                paymentToken: 'tok_approve',
              },
              after: 'NEW_PRODUCT',
            },
          },
        },
        schema: {
          body: newOrder,
          response: { 201: placedOrder, 202: undecidedOrder, default: problemSchema },
        },
      },
      async (request, reply) => {
        const { items: lines, paymentToken } = request.body;
        const items = mergeLines(lines);
        checkLines(lines, await productDetails.findPrices(items.map(({ productId }) => productId)));
        const orderId = request.deriveId('order');
        const userId = userOf(request);
        const wanted = { userId, items, paymentToken };
        const decided = await orderBound.within(userId, orderId, () =>
          orUndecided(services, orderId, () =>
            commands.placeOrder(orderId, wanted, request.isRepeat),
          ),
        );
        if (decided.kind === 'undecided') return answerUndecided(reply, orderId, decided);
        if (request.isRepeat) await checkIsDecided(orderReadsOfChanges, orderId);
        const order = placed(orderId, lines, decided);
        return reply.code(201).header('location', locationOf(orderId)).send(order);
      },
    );

    app.get(
      '/orders/:orderId',
      {
        config: {
          operation: {
            operationId: 'findOrder',
            tag: 'Orders',
            summary: 'Get an order',
            description:
              'Operators see every order; shoppers see the orders of the user in `X-User-Id`.',
            key: 'any',
            user: 'of-shopper',
            problems: [...databaseProblems, 'TEMPORAL_UNAVAILABLE', 'ORDER_NOT_FOUND'],
            example: { url: '/v1/orders/$ORDER', after: 'ORDER' },
          },
        },
        schema: { params: orderParams, response: { 200: orderSchema, default: problemSchema } },
      },
      async (request) =>
        findVisible(services, services.orderReads, request, request.params.orderId),
    );

    app.post(
      '/orders/:orderId/cancel',
      {
        config: {
          operation: {
            operationId: 'cancelOrder',
            tag: 'Orders',
            summary: 'Cancel an order',
            description:
              'Refunds the payment and releases the stock. 202: the cancellation is accepted and stored, ' +
              'and is carried out in any case.',
            key: 'any',
            user: 'of-shopper',
            problems: [...databaseProblems, ...commandProblems, 'ORDER_NOT_FOUND'],
            headers: { 202: ['Location'] },
            example: {
              url: '/v1/orders/$ORDER/cancel',
              body: { reason: 'changed my mind' },
              after: 'ORDER',
            },
          },
        },
        schema: {
          params: orderParams,
          body: cancellation,
          response: { 200: cancelledOrder, 202: undecidedOrder, default: problemSchema },
        },
      },
      async (request, reply) => {
        const { orderId } = request.params;
        const order = await findVisible(services, orderReadsOfChanges, request, orderId);
        if (order.status === 'CANCELLED') {
          return { orderId, status: order.status, reason: order.reason ?? '' };
        }
        const reason = request.body?.reason ?? `requested by the ${request.caller.role}`;
        const decided = await orUndecided(
          services,
          orderId,
          () => commands.cancelOrder(orderId, { reason }),
          // The workflow may run without ever having heard of it.
          ({ isAccepted }) => isAccepted,
        );
        if (decided.kind === 'undecided') {
          await recordCancellation(database, orderId, { reason });
          return answerUndecided(reply, orderId, decided);
        }
        // The order was refused while it was being placed: there is nothing to cancel.
        if (decided.kind !== 'cancelled') throw unknownOrder(orderId);
        await checkIsCancelled(orderReadsOfChanges, orderId);
        return { orderId, status: 'CANCELLED' as const, reason: decided.reason };
      },
    );
  };
}

const newOrder = z.strictObject({
  items: z
    .array(z.strictObject({ productId: aggregateIdSchema, quantity: z.int().min(1) }))
    .min(1)
    .max(100)
    .describe('lines of the same product are merged'),
  paymentToken: storableText(255).describe('payment token issued by the payment gateway'),
});

const cancellation = z.strictObject({ reason: storableText(500).optional() }).nullish();

/** The parameters of a route of one order. */
export const orderParams = z.strictObject({ orderId: aggregateIdSchema });

type Order = z.output<typeof orderSchema>;

function locationOf(orderId: string): string {
  return `/v1/orders/${orderId}`;
}

/** @throws Problem 404 for a shopper whose order it is not, as if there were none */
async function findVisible(
  { commands }: Services,
  orderReads: OrderReads,
  { caller, userId }: FastifyRequest,
  orderId: string,
): Promise<Order> {
  const order = await findOrder(commands, orderReads, orderId);
  const visible = caller.role === 'operator' || order?.userId === userId;
  if (order === undefined || !visible) throw unknownOrder(orderId);
  return order;
}

// An order that was answered with 202 may not be in the database yet; its workflow knows of it. One
// whose workflow has finished in between is in the database by now.
async function findOrder(
  commands: Services['commands'],
  orderReads: OrderReads,
  orderId: string,
): Promise<Order | undefined> {
  const stored = await orderReads.find(orderId);
  if (stored !== undefined) return toOrder(stored);
  const running = await commands.findRunningOrder(orderId);
  if (running?.userId !== undefined) return beingPlaced(orderId, running.userId);
  const meanwhile = await orderReads.find(orderId);
  return meanwhile && toOrder(meanwhile);
}

function toOrder({ items, createdAt, updatedAt, ...order }: StoredOrder): Order {
  return {
    ...order,
    items: [...items],
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  };
}

function beingPlaced(orderId: string, userId: string): Order {
  const unknown = { items: null, totalAmount: null, reason: null, payment: null };
  return { orderId, userId, status: 'PLACED', ...unknown, createdAt: null, updatedAt: null };
}

/**
 * @throws Problem 503 when the database does not know that an order is decided: it has lost that since. Once
 *   the workflow that remembers it has ended, a repeat has it placed, or decided, again.
 */
async function checkIsDecided(orderReads: OrderReads, orderId: string): Promise<void> {
  const stored = await orderReads.find(orderId);
  const isRefused = stored === undefined && (await orderReads.findAnswered([orderId])).length > 0;
  if (!isRefused && (stored === undefined || stored.status === 'PLACED')) {
    throw new Problem('UNDECIDED');
  }
}

/** @throws Problem 503 when the database has lost the cancellation since: a repeat has it carried out again */
async function checkIsCancelled(orderReads: OrderReads, orderId: string): Promise<void> {
  const stored = await orderReads.find(orderId);
  if (stored?.status !== 'CANCELLED') throw new Problem('UNDECIDED');
}

interface Undecided {
  readonly kind: 'undecided';
  readonly status: string;
}

function answerUndecided(
  reply: FastifyReply,
  orderId: string,
  { status }: Undecided,
): FastifyReply {
  return reply.code(202).header('location', locationOf(orderId)).send({ orderId, status });
}

/**
 * The outcome, or that the order's workflow is still running.
 *
 * @param isPromised whether a running workflow carries the command out; an order is what its workflow was
 *   started with
 */
async function orUndecided(
  { commands }: Services,
  orderId: string,
  decide: () => Promise<OrderOutcome>,
  isPromised: (error: UndecidedError) => boolean = () => true,
): Promise<OrderOutcome | Undecided> {
  try {
    return await decide();
  } catch (error) {
    if (!(error instanceof UndecidedError) || !isPromised(error)) throw error;
    // When Temporal cannot say whether the workflow was started, the first error stands.
    const running = await commands.findRunningOrder(orderId).catch(() => undefined);
    if (running === undefined) throw error;
    return { kind: 'undecided', status: running.status };
  }
}

/** The answer for a confirmed order. @throws Problem for one that turned out otherwise */
function placed(
  orderId: string,
  lines: readonly OrderLine[],
  outcome: OrderOutcome,
): z.output<typeof placedOrder> {
  switch (outcome.kind) {
    case 'confirmed':
      return { orderId, status: 'CONFIRMED', totalAmount: outcome.totalAmount };
    case 'out-of-stock':
      throw outOfStock(lines, outcome.productId);
    case 'unknown-product':
      throw unknownProducts([unknownProduct(outcome.productId, lineOf(lines, outcome.productId))]);
    case 'cancelled':
      throw cancelled(orderId, outcome);
    case 'unknown-order':
      throw unknownOrder(orderId);
  }
}

function outOfStock(lines: readonly OrderLine[], productId: string): Problem {
  const message = `there is not enough stock of product ${productId}`;
  const field = `items.${lineOf(lines, productId)}.quantity`;
  return new Problem('OUT_OF_STOCK', {
    detail: `Nothing was ordered: ${message}.`,
    errors: [{ field, message }],
  });
}

function lineOf(lines: readonly OrderLine[], productId: string): number {
  return lines.findIndex((line) => line.productId === productId);
}

function cancelled(orderId: string, { cause, reason }: Cancellation): Problem {
  const told = { detail: `The order was cancelled: ${reason}.`, orderId };
  switch (cause) {
    case 'payment-failed':
      return new Problem('PAYMENT_FAILED', told);
    case 'requested':
      return new Problem('ORDER_CANCELLED', told);
    case 'timed-out':
      return new Problem('ORDER_TIMED_OUT', told);
  }
}

/** The 404 for an order that does not exist, or is not the caller's. */
export function unknownOrder(orderId: string): Problem {
  return new Problem('ORDER_NOT_FOUND', { detail: `There is no order ${orderId}.` });
}
