/**
 * What has happened to an order, and what it waits for: from its rows, its events in the outbox, and its workflow.
 */
import type { Client } from '@temporalio/client';
import type { OrderItem } from '../events/fields';
import {
  orderChargeKey,
  orderEventId,
  orderStockEventId,
  type OrderEventType,
  type OrderStatus,
  type StockStep,
} from '../events/orders';
import { workflowIds } from '../events/workflow-ids';
import type { Queryable } from '../platform/postgres/pool';
import { decidedWithinSeconds, isStuck } from './order-list';
import { waitingOf, type OrderWaiting } from './order-waiting';
import { readOrderWorkflow, type OrderWorkflow, type WorkflowActivity } from './order-workflow';

/** An order with what has happened to it. Times are RFC 3339. */
export interface OrderTimeline {
  readonly orderId: string;
  /** Null where neither the database nor the workflow says it. */
  readonly userId: string | null;
  readonly status: OrderStatus;
  readonly stuck: boolean;
  /** The workflow, to look up in the Temporal Web UI. */
  readonly workflowId: string;
  /** Its status as Temporal names it; `NONE` when there is none, `UNKNOWN` when Temporal is unavailable. */
  readonly workflowStatus: string;
  /** Null while the stock is not reserved. */
  readonly items: OrderItem[] | null;
  readonly totalAmount: number | null;
  readonly reason: string | null;
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  /** Null when the order is decided and all of its events are published. */
  readonly waiting: OrderWaiting | null;
  readonly payment: OrderPayment;
  /** What has happened, in its order. */
  readonly steps: OrderStep[];
  /** Its events, in the order of their commits. */
  readonly events: OrderEvent[];
}

/** The payment of an order. */
interface OrderPayment {
  /** The payment gateway's idempotency key: every try of the charge has this one. */
  readonly idempotencyKey: string;
  /** What the shop's books say; null until the payment is decided. */
  readonly books: PaymentInBooks | null;
  /** Each call of the gateway that is known of, of the workflow's last run. */
  readonly tries: WorkflowActivity[];
}

/** A payment as the shop has it. */
export interface PaymentInBooks {
  readonly status: 'captured' | 'failed' | 'refunded';
  readonly amount: number;
  /** The gateway's ID of the charge; null when there was none. */
  readonly paymentId: string | null;
  readonly reason: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** The steps of an order, in the order in which they can happen. */
export const orderSteps = [
  'reserved',
  'charged',
  'confirmed',
  'payment-failed',
  'refunded',
  'released',
  'cancelled',
] as const;

/** Something that has happened to an order. */
export interface OrderStep {
  readonly step: (typeof orderSteps)[number];
  readonly at: string;
  /** Why, where that is known. */
  readonly reason: string | null;
  /** The events that were written with it. */
  readonly eventIds: string[];
}

/** An event of an order. */
export interface OrderEvent {
  readonly eventId: string;
  readonly type: string;
  readonly topic: string;
  /** When it was written, with the change that it tells of. */
  readonly writtenAt: string;
  /** When Kafka acknowledged it; null while it waits. */
  readonly publishedAt: string | null;
  readonly partition: number | null;
  readonly offset: number | null;
  /** When the collector applied its effects; null before. */
  readonly handledAt: string | null;
  /** The workflow that did. */
  readonly handledBy: string | null;
}

/** Reads the timeline of an order; undefined when it is not stored, and no workflow is placing it. */
export async function findOrderTimeline(
  database: Queryable,
  temporal: Client,
  orderId: string,
): Promise<OrderTimeline | undefined> {
  // In this order: a workflow that ends in between has stored its order by then.
  const workflow = await readOrderWorkflow(temporal, orderId);
  const stored = await findStored(database, orderId);
  if (stored !== undefined) return toTimeline(stored, workflow);
  return workflow?.status === 'RUNNING' ? beingPlaced(orderId, workflow) : undefined;
}

/** An order as it is stored, with its events. */
interface StoredOrder {
  readonly orderId: string;
  readonly userId: string;
  readonly status: OrderStatus;
  readonly stuck: boolean;
  readonly totalAmount: number;
  readonly reason: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly items: OrderItem[];
  readonly books: PaymentInBooks | null;
  readonly events: OrderEvent[];
}

async function findStored(database: Queryable, orderId: string): Promise<StoredOrder | undefined> {
  const { rows } = await database.query<Omit<StoredOrder, 'events'>>({
    name: 'order-timeline',
    text: `
      SELECT order_id AS "orderId", user_id AS "userId", orders.status, total_amount AS "totalAmount",
        orders.reason, orders.created_at AS "createdAt", orders.updated_at AS "updatedAt",
        ${isStuck} AS stuck,
        (SELECT jsonb_agg(jsonb_build_object(
            'productId', product_id, 'quantity', quantity, 'unitPrice', unit_price) ORDER BY product_id)
          FROM commerce.order_items WHERE order_items.order_id = orders.order_id) AS items,
        CASE WHEN payments.order_id IS NOT NULL THEN jsonb_build_object(
          'status', payments.status, 'amount', payments.amount, 'paymentId', payment_id,
          'reason', payments.reason, 'createdAt', payments.created_at, 'updatedAt', payments.updated_at)
        END AS books
      FROM commerce.orders LEFT JOIN commerce.payments USING (order_id)
      WHERE order_id = $1`,
    values: [orderId],
  });
  const order = rows[0];
  return order && { ...order, events: await findEvents(database, order) };
}

const orderEventTypes: readonly OrderEventType[] = [
  'OrderPlaced',
  'PaymentCompleted',
  'PaymentFailed',
  'OrderConfirmed',
  'OrderCancelled',
];

async function findEvents(
  database: Queryable,
  { orderId, items }: Pick<StoredOrder, 'orderId' | 'items'>,
): Promise<OrderEvent[]> {
  const ofStock = items.flatMap(({ productId }) => [
    orderStockEventId(orderId, 'reserve', productId),
    orderStockEventId(orderId, 'release', productId),
  ]);
  const { rows } = await database.query<EventRow>({
    name: 'order-events',
    text: `
      SELECT event_id AS "eventId", type, topic, outbox.created_at AS "writtenAt",
        published_at AS "publishedAt", partition, "offset", handled_at AS "handledAt",
        workflow_id AS "handledBy"
      FROM commerce.outbox LEFT JOIN collector.event_handled USING (event_id)
      WHERE event_id = ANY($1::text[]) ORDER BY sequence`,
    values: [[...orderEventTypes.map((type) => orderEventId(orderId, type)), ...ofStock]],
  });
  return rows.map((row) => ({
    ...row,
    writtenAt: row.writtenAt.toISOString(),
    publishedAt: row.publishedAt?.toISOString() ?? null,
    handledAt: row.handledAt?.toISOString() ?? null,
  }));
}

type EventRow = Omit<OrderEvent, 'writtenAt' | 'publishedAt' | 'handledAt'> & {
  readonly writtenAt: Date;
  readonly publishedAt: Date | null;
  readonly handledAt: Date | null;
};

function toTimeline(
  { events, books, createdAt, updatedAt, ...order }: StoredOrder,
  workflow: OrderWorkflow | null | undefined,
): OrderTimeline {
  const unpublished = events.filter(({ publishedAt }) => publishedAt === null);
  const { orderId, status } = order;
  return {
    ...order,
    ...workflowOf(orderId, workflow),
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
    waiting: waitingOf({ status, unpublishedSince: unpublished[0]?.writtenAt ?? null, workflow }),
    payment: {
      idempotencyKey: orderChargeKey(orderId),
      books: books && inUtc(books),
      tries: triesOf(workflow),
    },
    steps: stepsOf(order, books && inUtc(books), events),
    events,
  };
}

// In JSON, PostgreSQL writes times with the offset of its session.
function inUtc({ createdAt, updatedAt, ...books }: PaymentInBooks): PaymentInBooks {
  const [created, updated] = [new Date(createdAt), new Date(updatedAt)];
  return { ...books, createdAt: created.toISOString(), updatedAt: updated.toISOString() };
}

// An order has its workflow before it is stored.
function beingPlaced(orderId: string, workflow: OrderWorkflow): OrderTimeline {
  return {
    orderId,
    userId: workflow.userId,
    status: 'PLACED',
    stuck: Date.now() - Date.parse(workflow.startedAt) > decidedWithinSeconds * 1_000,
    ...workflowOf(orderId, workflow),
    ...{ items: null, totalAmount: null, reason: null, createdAt: null, updatedAt: null },
    waiting: waitingOf({ status: null, unpublishedSince: null, workflow }),
    payment: { idempotencyKey: orderChargeKey(orderId), books: null, tries: triesOf(workflow) },
    steps: [],
    events: [],
  };
}

function workflowOf(
  orderId: string,
  workflow: OrderWorkflow | null | undefined,
): Pick<OrderTimeline, 'workflowId' | 'workflowStatus'> {
  const workflowStatus = workflow === undefined ? 'UNKNOWN' : (workflow?.status ?? 'NONE');
  return { workflowId: workflowIds.placeOrder(orderId), workflowStatus };
}

function triesOf(workflow: OrderWorkflow | null | undefined): WorkflowActivity[] {
  const ofGateway = ['chargeOrder', 'findCharge', 'voidPayment'];
  return workflow?.activities.filter(({ activity }) => ofGateway.includes(activity)) ?? [];
}

/**
 * What has happened to an order, from the events that were written with each change: so a step has the time of
 * its transaction. A refund alone has none, and is known by the payment.
 */
export function stepsOf(
  { orderId, items, reason }: Pick<StoredOrder, 'orderId' | 'items' | 'reason'>,
  books: PaymentInBooks | null,
  events: readonly OrderEvent[],
): OrderStep[] {
  const written = new Map(events.map((event) => [event.eventId, event]));
  const step = (name: OrderStep['step'], eventIds: string[], why: string | null): OrderStep[] => {
    const own = eventIds.flatMap((eventId) => written.get(eventId) ?? []);
    if (own.length === 0) return [];
    const at = own[0]!.writtenAt;
    return [{ step: name, at, reason: why, eventIds: own.map(({ eventId }) => eventId) }];
  };
  const own = (type: OrderEventType): string[] => [orderEventId(orderId, type)];
  const stock = (change: StockStep): string[] =>
    items.map(({ productId }) => orderStockEventId(orderId, change, productId));
  const refund = (): OrderStep[] => {
    if (books?.status !== 'refunded') return [];
    return [{ step: 'refunded', at: books.updatedAt, reason: books.reason, eventIds: [] }];
  };
  return [
    ...step('reserved', [...own('OrderPlaced'), ...stock('reserve')], null),
    ...step('charged', own('PaymentCompleted'), null),
    ...step('confirmed', own('OrderConfirmed'), null),
    ...step('payment-failed', own('PaymentFailed'), books?.reason ?? null),
    ...refund(),
    ...step('released', stock('release'), null),
    ...step('cancelled', own('OrderCancelled'), reason),
  ];
}
