/**
 * The steps of an order that change the shop's state. Each is one transaction with its events, and
 * idempotent, so retries are safe at any point.
 */
import type { Pool, PoolClient } from 'pg';
import type { Cancellation, OrderOutcome, OrderRequest, OrderStatus } from '../../events/orders';
import { createEvent, type Event } from '../../events/envelope';
import { deriveEventId } from '../../events/identifiers';
import type { OrderItem } from '../../events/fields';
import { workflowIds } from '../../events/workflow-ids';
import { afterCommit, inTransaction } from '../../platform/postgres/pool';
import { ordersDecided } from '../../platform/observability/telemetry';
import { refusingBadData } from '../failures';
import { appendToOutbox } from './outbox';
import { applyStockChanges, lockProducts, type LockedProduct, type StockChange } from './stock';

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
     * `StockAdjusted` for each product to the outbox. For an existing order, returns its state.
     */
    async reserveStock(
      orderId: string,
      request: OrderRequest | undefined,
    ): Promise<OrderState | OrderRejection> {
      return refusingBadData(async () => {
        try {
          return await inTransaction(pool, (connection) => place(connection, orderId, request));
        } catch (error) {
          if (error instanceof Rejection) {
            ordersDecided.inc({ outcome: error.outcome.kind.replaceAll('-', '_') });
            return error.outcome;
          }
          throw error;
        }
      });
    },

    /**
     * Confirms an order that is placed, with its payment, and writes `PaymentCompleted` and
     * `OrderConfirmed` to the outbox. Changes nothing once the order is decided.
     *
     * @returns the order's status afterwards
     */
    async confirmOrder(orderId: string, paymentId: string): Promise<OrderStatus> {
      return refusingBadData(() =>
        inTransaction(pool, (connection) => confirm(connection, orderId, paymentId)),
      );
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
      return refusingBadData(() =>
        inTransaction(pool, (connection) => cancel(connection, orderId, cancellation, payment)),
      );
    },
  };
}

/** Rolls the transaction back with an outcome. */
class Rejection extends Error {
  override readonly name = 'Rejection';

  constructor(readonly outcome: OrderRejection) {
    super(outcome.kind);
  }
}

async function place(
  connection: PoolClient,
  orderId: string,
  request: OrderRequest | undefined,
): Promise<OrderState> {
  if (request === undefined || !(await insertOrder(connection, orderId, request))) {
    const order = await lockOrder(connection, orderId);
    if (order === undefined) throw new Rejection({ kind: 'unknown-order' });
    return toState(order);
  }
  const productIds = request.items.map(({ productId }) => productId);
  const products = await lockProducts(connection, productIds);
  const items = request.items.map((line) => priceLine(line, products));
  const totalAmount = items.reduce((sum, item) => sum + item.quantity * item.unitPrice, 0);
  await insertItems(connection, orderId, items, totalAmount);
  const changes = items.map(({ productId, quantity }) =>
    stockChange(orderId, products.get(productId)!, -quantity),
  );
  const { userId } = request;
  await appendToOutbox(connection, [
    orderEvent(orderId, 'OrderPlaced', { orderId, userId, items, totalAmount }),
    ...(await applyStockChanges(connection, changes)),
  ]);
  return { kind: 'order', status: 'PLACED', totalAmount, productIds, cancellation: null };
}

function priceLine(
  { productId, quantity }: OrderRequest['items'][number],
  products: ReadonlyMap<string, LockedProduct>,
): OrderItem {
  const product = products.get(productId);
  if (product === undefined) throw new Rejection({ kind: 'unknown-product', productId });
  const { stock, price: unitPrice } = product;
  if (stock < quantity) throw new Rejection({ kind: 'out-of-stock', productId, stock });
  return { productId, quantity, unitPrice };
}

async function confirm(
  connection: PoolClient,
  orderId: string,
  paymentId: string,
): Promise<OrderStatus> {
  const order = await lockOrder(connection, orderId);
  if (order?.status !== 'PLACED') return order?.status ?? 'CANCELLED';
  const { userId, items, totalAmount } = order;
  await decide(connection, orderId, 'CONFIRMED', null);
  afterCommit(connection, () => ordersDecided.inc({ outcome: 'confirmed' }));
  await recordPayment(connection, {
    orderId,
    paymentId,
    amount: totalAmount,
    status: 'captured',
    reason: null,
  });
  await appendToOutbox(connection, [
    orderEvent(orderId, 'PaymentCompleted', { orderId, paymentId, amount: totalAmount }),
    orderEvent(orderId, 'OrderConfirmed', { orderId, userId, items, totalAmount }),
  ]);
  return 'CONFIRMED';
}

async function cancel(
  connection: PoolClient,
  orderId: string,
  cancellation: Cancellation,
  payment: CancelledPayment,
): Promise<Cancellation> {
  const order = await lockOrder(connection, orderId);
  if (order === undefined || order.status === 'CANCELLED') {
    return order?.cancellation ?? cancellation;
  }
  const { userId, items, totalAmount } = order;
  const { reason } = cancellation;
  const wasConfirmed = order.status === 'CONFIRMED';
  await decide(connection, orderId, 'CANCELLED', cancellation);
  const outcome = `cancelled_${cancellation.cause.replaceAll('-', '_')}`;
  afterCommit(connection, () => ordersDecided.inc({ outcome }));
  await recordPayment(connection, { orderId, amount: totalAmount, ...payment });
  const products = await lockProducts(
    connection,
    items.map(({ productId }) => productId),
  );
  const changes = items.map(({ productId, quantity }) =>
    stockChange(orderId, products.get(productId)!, quantity),
  );
  const paymentFailed = { orderId, amount: totalAmount, reason: payment.reason };
  await appendToOutbox(connection, [
    ...(wasConfirmed ? [] : [orderEvent(orderId, 'PaymentFailed', paymentFailed)]),
    orderEvent(orderId, 'OrderCancelled', { orderId, userId, items, reason, wasConfirmed }),
    ...(await applyStockChanges(connection, changes)),
  ]);
  return cancellation;
}

/** Reserves stock for an order, or releases it. */
function stockChange(orderId: string, product: LockedProduct, delta: number): StockChange {
  const step = delta < 0 ? 'reserve' : 'release';
  const position = `${step}/${product.productId}`;
  const workflowId = workflowIds.placeOrder(orderId);
  return {
    adjustmentId: `${workflowId}/${position}`,
    eventId: deriveEventId(workflowId, 'StockAdjusted', position),
    product,
    delta,
    reason: delta < 0 ? 'order' : 'order-cancelled',
    orderId,
  };
}

type OrderEventType =
  'OrderPlaced' | 'PaymentCompleted' | 'PaymentFailed' | 'OrderConfirmed' | 'OrderCancelled';

function orderEvent<T extends OrderEventType>(
  orderId: string,
  type: T,
  data: Extract<Event, { type: T }>['data'],
): Event {
  const id = deriveEventId(workflowIds.placeOrder(orderId), type, orderId);
  return createEvent<OrderEventType>({ id, type, time: new Date(), data }) as Event;
}

interface Order {
  readonly userId: string;
  readonly status: OrderStatus;
  readonly totalAmount: number;
  readonly cancellation: Cancellation | null;
  readonly items: OrderItem[];
}

function toState({ status, totalAmount, cancellation, items }: Order): OrderState {
  const productIds = items.map(({ productId }) => productId);
  return { kind: 'order', status, totalAmount, productIds, cancellation };
}

/** Whether the order is new. Waits for an earlier attempt that is still committing. */
async function insertOrder(
  connection: PoolClient,
  orderId: string,
  { userId }: OrderRequest,
): Promise<boolean> {
  const { rowCount } = await connection.query({
    name: 'order-insert',
    text: `
      INSERT INTO commerce.orders (order_id, user_id, status, total_amount)
      VALUES ($1, $2, 'PLACED', 0) ON CONFLICT (order_id) DO NOTHING`,
    values: [orderId, userId],
  });
  return rowCount === 1;
}

async function insertItems(
  connection: PoolClient,
  orderId: string,
  items: readonly OrderItem[],
  totalAmount: number,
): Promise<void> {
  await connection.query({
    name: 'order-items-insert',
    text: `
      WITH total AS (UPDATE commerce.orders SET total_amount = $5 WHERE order_id = $1)
      INSERT INTO commerce.order_items (order_id, product_id, quantity, unit_price)
      SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bigint[])`,
    values: [
      orderId,
      items.map(({ productId }) => productId),
      items.map(({ quantity }) => quantity),
      items.map(({ unitPrice }) => unitPrice),
      totalAmount,
    ],
  });
}

async function lockOrder(connection: PoolClient, orderId: string): Promise<Order | undefined> {
  const { rows } = await connection.query<Order>({
    name: 'order-lock',
    text: `
      SELECT user_id AS "userId", status, total_amount AS "totalAmount",
        CASE WHEN cause IS NOT NULL THEN jsonb_build_object('cause', cause, 'reason', reason) END
          AS cancellation,
        (SELECT jsonb_agg(jsonb_build_object(
            'productId', product_id, 'quantity', quantity, 'unitPrice', unit_price) ORDER BY product_id)
          FROM commerce.order_items WHERE order_items.order_id = orders.order_id) AS items
      FROM commerce.orders WHERE order_id = $1 FOR UPDATE`,
    values: [orderId],
  });
  return rows[0];
}

async function decide(
  connection: PoolClient,
  orderId: string,
  status: OrderStatus,
  cancellation: Cancellation | null,
): Promise<void> {
  await connection.query({
    name: 'order-decide',
    text: `
      UPDATE commerce.orders SET status = $2, cause = $3, reason = $4, updated_at = now()
      WHERE order_id = $1`,
    values: [orderId, status, cancellation?.cause ?? null, cancellation?.reason ?? null],
  });
}

interface PaymentRecord {
  readonly orderId: string;
  readonly paymentId: string | null;
  readonly amount: number;
  readonly status: 'captured' | 'failed' | 'refunded';
  readonly reason: string | null;
}

async function recordPayment(connection: PoolClient, payment: PaymentRecord): Promise<void> {
  await connection.query({
    name: 'payment-record',
    text: `
      INSERT INTO commerce.payments (order_id, payment_id, amount, status, reason)
      VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (order_id) DO UPDATE SET
        status = excluded.status, reason = excluded.reason, updated_at = now(),
        payment_id = coalesce(payments.payment_id, excluded.payment_id)`,
    values: [payment.orderId, payment.paymentId, payment.amount, payment.status, payment.reason],
  });
}
