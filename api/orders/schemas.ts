/** Orders in answers. */
import { z } from 'zod';
import { orderSteps } from '../../operations/order-timeline';
import { waitingFor } from '../../operations/order-waiting';
import { pageSchema } from '../http/page-schema';

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

/** Status of an order. */
export const orderStatus = z
  .enum(['PLACED', 'CONFIRMED', 'CANCELLED'])
  .describe('PLACED: not decided yet');

const items = z
  .array(z.object({ productId: z.string(), quantity: z.int(), unitPrice: amount }))
  .nullable()
  .describe('null until the stock is reserved');

/** An order. */
export const orderSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: orderStatus,
  items,
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

const stuck = z.boolean().describe('undecided for over 10 seconds');

/** An order of the list. */
export const listedOrder = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: orderStatus,
  stuck,
  totalAmount: amount,
  reason: z.string().nullable().describe('reason of the cancellation'),
  productIds: z.array(z.string()),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});

/** A page of orders. */
export const orderPage = pageSchema(
  listedOrder,
  'undecided orders, the oldest first, then decided ones, the newest first',
);

const paymentTry = z.object({
  activity: z.string().describe('chargeOrder, findCharge or voidPayment'),
  state: z
    .enum(['queued', 'running', 'retrying', 'succeeded', 'failed', 'abandoned'])
    .describe('queued: no worker has taken it; abandoned: the workflow no longer waits for it'),
  attempts: z.int().describe('attempts that have begun'),
  scheduledAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
  nextAttemptAt: z.iso.datetime().nullable(),
  error: z.string().nullable().describe('why the last attempt failed'),
  errorType: z.string().nullable(),
});

/** An order with what has happened to it. */
export const orderTimeline = z.object({
  orderId: z.string(),
  userId: z.string().nullable(),
  status: orderStatus,
  stuck,
  workflowId: z.string(),
  workflowStatus: z
    .string()
    .describe('as Temporal names it; NONE: there is none, UNKNOWN: Temporal is unavailable'),
  items,
  totalAmount: amount.nullable().describe('null until the stock is reserved'),
  reason: z.string().nullable().describe('reason of the cancellation'),
  createdAt: z.iso.datetime().nullable().describe('null until the stock is reserved'),
  updatedAt: z.iso.datetime().nullable(),
  waiting: z
    .object({
      for: z
        .enum(waitingFor)
        .describe(
          'outbox: its events wait for Kafka; audit: no workflow runs, the delivery audit carries it on; ' +
            'unknown: Temporal is unavailable',
        ),
      since: z.iso.datetime().nullable(),
      attempts: z.int().nullable(),
      lastError: z.string().nullable(),
      what: z.string(),
      advice: z.string(),
      runbook: z.string().describe('path in the project'),
    })
    .nullable()
    .describe('null when the order is decided and all of its events are published'),
  payment: z.object({
    idempotencyKey: z.string().describe('of every try of the charge at the payment gateway'),
    books: z
      .object({
        status: z.enum(['captured', 'failed', 'refunded']),
        amount,
        paymentId: z.string().nullable().describe("the gateway's ID of the charge"),
        reason: z.string().nullable(),
        createdAt: z.iso.datetime(),
        updatedAt: z.iso.datetime(),
      })
      .nullable()
      .describe("what the shop's books say; null until the payment is decided"),
    tries: z
      .array(paymentTry)
      .describe("calls of the gateway by the workflow's last run, as far as Temporal has it"),
  }),
  steps: z
    .array(
      z.object({
        step: z.enum(orderSteps),
        at: z.iso.datetime(),
        reason: z.string().nullable(),
        eventIds: z.array(z.string()).describe('events that were written with it'),
      }),
    )
    .describe('what has happened, in its order'),
  events: z
    .array(
      z.object({
        eventId: z.string(),
        type: z.string(),
        topic: z.string(),
        writtenAt: z.iso.datetime(),
        publishedAt: z.iso.datetime().nullable().describe('null while it waits for Kafka'),
        partition: z.int().nullable(),
        offset: z.int().nullable(),
        handledAt: z.iso.datetime().nullable(),
        handledBy: z.string().nullable().describe('workflow that applied its effects'),
      }),
    )
    .describe('in the order of their commits'),
});
