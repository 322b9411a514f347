/**
 * The steps of an order that change the shop's state. Each is one transaction with its events, and
 * idempotent, so retries are safe at any point.
 */
import type { Pool } from 'pg';
import {
  orderEventId,
  orderStockEventId,
  type Cancellation,
  type OrderEventType,
  type OrderLine,
  type OrderOutcome,
  type OrderRequest,
  type OrderStatus,
  type StockStep,
} from '../../events/orders';
import type { EventData } from '../../events/schemas';
import type { Event } from '../../events/envelope';
import { workflowIds } from '../../events/workflow-ids';
import { ordersDecided } from '../../platform/observability/telemetry';
import { refusingBadData } from '../failures';
import {
  cancelUncancelled,
  confirmPlaced,
  readAnswer,
  readOrder,
  reserveForOrder,
  type OrderedStockChange,
} from './order-statements';
import { draftEvent, findTold, idAfterLoss, isToldBefore } from './outbox';

/** An order as stored. */
export interface OrderState {
  readonly kind: 'order';
  readonly status: OrderStatus;
  readonly totalAmount: number;
  /** IDs of its products. */
  readonly productIds: readonly string[];
  /** Why it was cancelled; null unless it was. */
  readonly cancellation: Cancellation | null;
}

/** An order that cannot be placed; nothing was written. */
export type OrderRejection = Extract<
  OrderOutcome,
  { kind: 'unknown-product' | 'out-of-stock' | 'unknown-order' }
>;

/** The payment of a cancelled order. */
export interface CancelledPayment {
  /** Whether the payment failed, or was refunded with the order. */
  readonly status: 'failed' | 'refunded';
  readonly reason: string;
  /** The gateway's ID of the charge, if it was captured and refunded. */
  readonly paymentId: string | null;
}

/** Activities of orders. */
export function createOrderActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Places the order: reserves all of its stock or none of it, and writes `OrderPlaced` and a
     * `StockAdjusted` for each product to the outbox. For an existing order, returns its state. An order
     * that was refused stays refused.
     *
     * @param request undefined only from runs of an earlier version, which had no `findOrder`
     */
    async reserveStock(
      orderId: string,
      request: OrderRequest | undefined,
    ): Promise<OrderState | OrderRejection> {
      if (request === undefined) return find(pool, orderId);
      return refusingBadData(() => place(pool, orderId, request));
    },

    /** The state of an order, or why it was not placed. Changes nothing. */
    async findOrder(orderId: string): Promise<OrderState | OrderRejection> {
      return find(pool, orderId);
    },

    /**
     * Confirms an order that is placed, with its payment, and writes `PaymentCompleted` and
     * `OrderConfirmed` to the outbox. Changes nothing once the order is decided.
     *
     * @returns the order's status afterwards
     */
    async confirmOrder(orderId: string, paymentId: string): Promise<OrderStatus> {
      return refusingBadData(() => confirm(pool, orderId, paymentId));
    },

    /**
     * Cancels an order, releases its stock, and writes `OrderCancelled`, a `StockAdjusted` for each
     * product and, if the order was never paid, `PaymentFailed` to the outbox. Call only when no money
     * is held for it any more. Idempotent.
     *
     * @returns the effective cancellation: `cancellation`, unless it was cancelled for another reason
     *   before
     */
    async cancelOrder(
      orderId: string,
      cancellation: Cancellation,
      payment: CancelledPayment,
    ): Promise<Cancellation> {
      return refusingBadData(() => cancel(pool, orderId, cancellation, payment));
    },
  };
}

async function find(pool: Pool, orderId: string): Promise<OrderState | OrderRejection> {
  return (await readAnswer(pool, orderId)) ?? { kind: 'unknown-order' };
}

/** @throws Error when a worker of an earlier version, which takes no turns, has just placed it */
async function place(
  pool: Pool,
  orderId: string,
  request: OrderRequest,
): Promise<OrderState | OrderRejection> {
  const { userId, items } = request;
  const { known, rejection, totalAmount } = await tellingOnce(
    pool,
    items.map((item) => stockChange(orderId, 'reserve', item)),
    (changes) => [
      orderEvent(orderId, 'OrderPlaced', { orderId, userId }),
      ...changes.map((change) => stockEvent(orderId, 'order', change)),
    ],
    (changes, drafts) => reserveForOrder(pool, orderId, request, changes, drafts),
  );
  if (known !== null) return known;
  if (rejection !== null) {
    ordersDecided.inc({ outcome: rejection.kind.replaceAll('-', '_') });
    return rejection;
  }
  if (totalAmount === null) {
    throw new Error(`Order ${orderId} was placed meanwhile; retry to see it.`);
  }
  const productIds = items.map(({ productId }) => productId).sort();
  return { kind: 'order', status: 'PLACED', totalAmount, productIds, cancellation: null };
}

async function confirm(pool: Pool, orderId: string, paymentId: string): Promise<OrderStatus> {
  const confirmed = await tellingOnce(
    pool,
    [],
    () => [
      orderEvent(orderId, 'PaymentCompleted', { orderId, paymentId }),
      orderEvent(orderId, 'OrderConfirmed', { orderId }),
    ],
    (_, drafts) => confirmPlaced(pool, orderId, paymentId, drafts),
  );
  if (!confirmed) return (await readOrder(pool, orderId))?.status ?? 'CANCELLED';
  ordersDecided.inc({ outcome: 'confirmed' });
  return 'CONFIRMED';
}

async function cancel(
  pool: Pool,
  orderId: string,
  cancellation: Cancellation,
  payment: CancelledPayment,
): Promise<Cancellation> {
  const order = await readOrder(pool, orderId);
  if (order === undefined) return cancellation;
  if (order.cancellation !== null) return order.cancellation;
  const { userId, items, totalAmount } = order;
  const { cause, reason } = cancellation;
  const paymentFailed = { orderId, amount: totalAmount, reason: payment.reason };
  const cancelled = await tellingOnce(
    pool,
    items.map((item) => stockChange(orderId, 'release', item)),
    (changes) => [
      orderEvent(orderId, 'PaymentFailed', paymentFailed),
      orderEvent(orderId, 'OrderCancelled', { orderId, userId, items, reason }),
      ...changes.map((change) => stockEvent(orderId, 'order-cancelled', change)),
    ],
    (changes, drafts) => cancelUncancelled(pool, orderId, cancellation, payment, changes, drafts),
  );
  if (!cancelled) return (await readOrder(pool, orderId))?.cancellation ?? cancellation;
  ordersDecided.inc({ outcome: `cancelled_${cause.replaceAll('-', '_')}` });
  return cancellation;
}

/**
 * Makes a change with its events, all at once. After a restore the shop may change again what it has told
 * before it lost it, and what is told stays as it is: an event of the order itself is not told again, and a
 * change of stock, which leads to another level now, is told under another ID.
 */
async function tellingOnce<T>(
  pool: Pool,
  changes: readonly OrderedStockChange[],
  draft: (changes: readonly OrderedStockChange[]) => Event[],
  write: (changes: readonly OrderedStockChange[], drafts: readonly Event[]) => Promise<T>,
): Promise<T> {
  const drafts = draft(changes);
  try {
    return await write(changes, drafts);
  } catch (error) {
    if (!isToldBefore(error)) throw error;
    const told = await findTold(pool, drafts);
    return tellingOnce(
      pool,
      changes.map((change) => (told.has(change.eventId) ? underAnotherId(change) : change)),
      (renewed) => draft(renewed).filter(({ id }) => !told.has(id)),
      write,
    );
  }
}

function underAnotherId(change: OrderedStockChange): OrderedStockChange {
  const { eventId, productId } = change;
  return { ...change, eventId: idAfterLoss(eventId, 'StockAdjusted', productId) };
}

/** Reserves stock for an order, or releases it. */
function stockChange(
  orderId: string,
  step: StockStep,
  { productId, quantity }: OrderLine,
): OrderedStockChange {
  return {
    productId,
    delta: step === 'reserve' ? -quantity : quantity,
    adjustmentId: `${workflowIds.placeOrder(orderId)}/${step}/${productId}`,
    eventId: orderStockEventId(orderId, step, productId),
  };
}

function stockEvent(
  orderId: string,
  reason: 'order' | 'order-cancelled',
  { productId, delta, eventId }: OrderedStockChange,
): Event {
  const data = { productId, delta, reason, orderId };
  return draftEvent({ id: eventId, type: 'StockAdjusted', time: new Date(), data });
}

function orderEvent<T extends OrderEventType>(
  orderId: string,
  type: T,
  data: Partial<EventData<T>>,
): Event {
  return draftEvent({ id: orderEventId(orderId, type), type, time: new Date(), data });
}
