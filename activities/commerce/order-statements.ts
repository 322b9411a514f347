/**
 * The changes of an order, each a single statement: a round trip holds the row of a product, which all who
 * want that product wait for.
 *
 * A statement sees what was committed before it began, but locks a row as its last holder left it. So each
 * decides by what it has locked or asked for behind a lock, and never by another look at the same table.
 * Whatever it writes comes from what it has locked; products are locked in the order of their IDs.
 */
import type { Pool } from 'pg';
import {
  orderEventId,
  type Cancellation,
  type OrderRequest,
  type OrderStatus,
} from '../../events/orders';
import type { Event } from '../../events/envelope';
import type { OrderItem } from '../../events/fields';
import { workflowIds } from '../../events/workflow-ids';
import type { CancelledPayment, OrderRejection, OrderState } from './orders';
import { insertIntoOutbox, outboxValues } from './outbox';

/** A change of a product's stock for an order, with its event. */
export interface OrderedStockChange {
  readonly productId: string;
  /** Units to release, or to reserve when negative. */
  readonly delta: number;
  /** Primary key: a change happens once. */
  readonly adjustmentId: string;
  readonly eventId: string;
}

// Of `item`, a product that is locked and what happens to its stock. With the same names in each statement.
const changeStock = `
  adjusted AS (
    INSERT INTO commerce.stock_adjustments
      (adjustment_id, product_id, delta, previous_stock, stock, version, reason, order_id, event_id)
    SELECT adjustment_id, product_id, delta, stock, stock + delta, stock_version + 1, reason, order_id, event_id
    FROM item
  ), changed AS (
    UPDATE commerce.products
    SET stock = item.stock + item.delta, stock_version = item.stock_version + 1, updated_at = now()
    FROM item WHERE products.product_id = item.product_id
  )`;
const stockData = `
  jsonb_build_object('stock', item.stock + item.delta, 'previousStock', item.stock,
    'version', item.stock_version + 1)`;

/** The rest of an event's data, added to what it has. */
function completed(rest: string): string {
  return `jsonb_set(event.payload, '{data}', (event.payload -> 'data') || ${rest})`;
}

/** The columns of {@link outboxValues} from their first parameter on, without the trace. */
function events(first: number): string {
  const parameters = ['text', 'text', 'text', 'text', 'jsonb'].map(
    (type, index) => `$${first + index}::${type}[]`,
  );
  return `unnest(${parameters.join(', ')}) WITH ORDINALITY
      AS event (event_id, topic, key, type, payload, position)`;
}

/** How a reservation ended. All three are null when a worker of an earlier version has just placed the order. */
export interface Reservation {
  /** The answer of an earlier attempt. */
  readonly known: OrderState | OrderRejection | null;
  /** Why nothing was placed; from now on the answer. */
  readonly rejection: OrderRejection | null;
  readonly totalAmount: number | null;
}

const reserve = `
  WITH known AS MATERIALIZED (
    SELECT commerce.order_answer_in_turn($1, $2) AS answer
  ), line AS (
    SELECT *, -delta AS quantity
    FROM unnest($4::text[], $5::bigint[], $6::text[], $7::text[]) WITH ORDINALITY
      AS line (product_id, delta, adjustment_id, event_id, position)
  ), locked AS MATERIALIZED (
    SELECT product_id, price, stock, stock_version FROM commerce.products
    WHERE product_id = ANY($4::text[]) AND (SELECT answer IS NULL FROM known)
    ORDER BY product_id FOR NO KEY UPDATE
  ), rejection AS MATERIALIZED (
    SELECT CASE WHEN locked.product_id IS NULL
      THEN jsonb_build_object('kind', 'unknown-product', 'productId', line.product_id)
      ELSE jsonb_build_object(
        'kind', 'out-of-stock', 'productId', line.product_id, 'stock', locked.stock)
      END AS answer
    FROM line LEFT JOIN locked ON locked.product_id = line.product_id
    WHERE (SELECT answer IS NULL FROM known)
      AND (locked.product_id IS NULL OR locked.stock < line.quantity)
    ORDER BY line.position LIMIT 1
  ), refused AS (
    INSERT INTO commerce.refusals (command_id, answer) SELECT $1, answer FROM rejection
  ), placed AS (
    INSERT INTO commerce.orders (order_id, user_id, status, total_amount)
    SELECT $2, $3, 'PLACED', sum(line.quantity * locked.price)
    FROM line JOIN locked ON locked.product_id = line.product_id
    HAVING (SELECT answer IS NULL FROM known) AND NOT EXISTS (SELECT FROM rejection)
    ON CONFLICT (order_id) DO NOTHING
    RETURNING order_id, total_amount
  ), item AS MATERIALIZED (
    SELECT line.*, 'order' AS reason, placed.order_id, locked.price, locked.stock, locked.stock_version
    FROM placed CROSS JOIN line JOIN locked ON locked.product_id = line.product_id
  ), listed AS (
    INSERT INTO commerce.order_items (order_id, product_id, quantity, unit_price)
    SELECT order_id, product_id, quantity, price FROM item
  ), ${changeStock}, written AS (
    ${insertIntoOutbox}
    SELECT event.event_id, topic, key, type, ${completed(`
      CASE WHEN item.event_id IS NOT NULL THEN ${stockData}
      ELSE jsonb_build_object('totalAmount', placed.total_amount, 'items', (
        SELECT jsonb_agg(jsonb_build_object(
          'productId', product_id, 'quantity', quantity, 'unitPrice', price) ORDER BY position)
        FROM item)) END`)}, $13
    FROM placed CROSS JOIN ${events(8)}
    LEFT JOIN item ON item.event_id = event.event_id
    ORDER BY event.position
  )
  SELECT (SELECT answer FROM known) AS known, (SELECT answer FROM rejection) AS rejection,
    (SELECT total_amount FROM placed) AS "totalAmount"`;

/**
 * Places an order whose products have the stock, or remembers why it is refused.
 *
 * @param drafts its `OrderPlaced` without the items and the total amount, and the `StockAdjusted` of each
 *   change without stock and version
 */
export async function reserveForOrder(
  pool: Pool,
  orderId: string,
  { userId }: OrderRequest,
  changes: readonly OrderedStockChange[],
  drafts: readonly Event[],
): Promise<Reservation> {
  const { rows } = await pool.query<Reservation>({
    name: 'order-reserve',
    text: reserve,
    values: [
      workflowIds.placeOrder(orderId),
      orderId,
      userId,
      changes.map(({ productId }) => productId),
      changes.map(({ delta }) => delta),
      changes.map(({ adjustmentId }) => adjustmentId),
      changes.map(({ eventId }) => eventId),
      ...outboxValues(drafts),
    ],
  });
  return rows[0]!;
}

/** The state of an order, or why it was refused; null when it is not known. */
export async function readAnswer(
  pool: Pool,
  orderId: string,
): Promise<OrderState | OrderRejection | null> {
  const { rows } = await pool.query<{ answer: OrderState | OrderRejection | null }>({
    name: 'order-answer',
    text: 'SELECT commerce.order_answer($1, $2) AS answer',
    values: [workflowIds.placeOrder(orderId), orderId],
  });
  return rows[0]!.answer;
}

const confirm = `
  WITH confirmed AS (
    UPDATE commerce.orders SET status = 'CONFIRMED', updated_at = now()
    WHERE order_id = $1 AND status = 'PLACED'
    RETURNING order_id, user_id, total_amount
  ), paid AS (
    INSERT INTO commerce.payments (order_id, payment_id, amount, status)
    SELECT order_id, $2, total_amount, 'captured' FROM confirmed
    ON CONFLICT (order_id) DO UPDATE SET
      status = excluded.status, reason = excluded.reason, updated_at = now(),
      payment_id = coalesce(payments.payment_id, excluded.payment_id)
  ), written AS (
    ${insertIntoOutbox}
    SELECT event_id, topic, key, type, ${completed(`
      CASE type WHEN 'PaymentCompleted' THEN jsonb_build_object('amount', total_amount)
      ELSE jsonb_build_object('userId', user_id, 'totalAmount', total_amount, 'items', (
        SELECT jsonb_agg(jsonb_build_object(
          'productId', product_id, 'quantity', quantity, 'unitPrice', unit_price)
          ORDER BY product_id)
        FROM commerce.order_items WHERE order_items.order_id = confirmed.order_id)) END`)}, $8
    FROM confirmed CROSS JOIN ${events(3)}
    ORDER BY position
  )
  SELECT FROM confirmed`;

/**
 * Confirms an order that is placed.
 *
 * @param drafts its `PaymentCompleted` and `OrderConfirmed` without what is stored of the order
 * @returns whether it was placed
 */
export async function confirmPlaced(
  pool: Pool,
  orderId: string,
  paymentId: string,
  drafts: readonly Event[],
): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'order-confirm',
    text: confirm,
    values: [orderId, paymentId, ...outboxValues(drafts)],
  });
  return rowCount === 1;
}

/** An order as stored. All but the status and the cancellation stays as it is for ever. */
export interface StoredOrder {
  readonly userId: string;
  readonly status: OrderStatus;
  readonly totalAmount: number;
  readonly cancellation: Cancellation | null;
  readonly items: OrderItem[];
}

/** An order as it is at this moment, without a lock. */
export async function readOrder(pool: Pool, orderId: string): Promise<StoredOrder | undefined> {
  const { rows } = await pool.query<StoredOrder>({
    name: 'order-stored',
    text: `
      SELECT user_id AS "userId", status, total_amount AS "totalAmount",
        CASE WHEN cause IS NOT NULL THEN jsonb_build_object('cause', cause, 'reason', reason) END
          AS cancellation,
        (SELECT jsonb_agg(jsonb_build_object(
            'productId', product_id, 'quantity', quantity, 'unitPrice', unit_price) ORDER BY product_id)
          FROM commerce.order_items WHERE order_items.order_id = orders.order_id) AS items
      FROM commerce.orders WHERE order_id = $1`,
    values: [orderId],
  });
  return rows[0];
}

// After a restore an order may be placed that was told as confirmed: telling that it is not takes that back.
const cancel = `
  WITH held AS MATERIALIZED (
    SELECT order_id, total_amount, status = 'CONFIRMED'
      OR EXISTS (SELECT FROM commerce.outbox WHERE event_id = $17) AS was_confirmed
    FROM commerce.orders WHERE order_id = $1 AND status <> 'CANCELLED' FOR NO KEY UPDATE
  ), locked AS MATERIALIZED (
    SELECT product_id, stock, stock_version FROM commerce.products
    WHERE product_id = ANY($7::text[]) AND EXISTS (SELECT FROM held)
    ORDER BY product_id FOR NO KEY UPDATE
  ), item AS MATERIALIZED (
    SELECT line.*, 'order-cancelled' AS reason, $1 AS order_id, locked.stock, locked.stock_version
    FROM unnest($7::text[], $8::bigint[], $9::text[], $10::text[])
      AS line (product_id, delta, adjustment_id, event_id)
    JOIN locked ON locked.product_id = line.product_id
  ), cancelled AS (
    UPDATE commerce.orders SET status = 'CANCELLED', cause = $2, reason = $3, updated_at = now()
    FROM held WHERE orders.order_id = held.order_id
  ), settled AS (
    INSERT INTO commerce.payments (order_id, payment_id, amount, status, reason)
    SELECT order_id, $4, total_amount, $5, $6 FROM held
    ON CONFLICT (order_id) DO UPDATE SET
      status = excluded.status, reason = excluded.reason, updated_at = now(),
      payment_id = coalesce(payments.payment_id, excluded.payment_id)
  ), ${changeStock}, written AS (
    ${insertIntoOutbox}
    SELECT event.event_id, topic, key, type, ${completed(`
      CASE WHEN item.event_id IS NOT NULL THEN ${stockData}
      WHEN type = 'OrderCancelled' THEN jsonb_build_object('wasConfirmed', was_confirmed)
      ELSE '{}' END`)}, $16
    FROM held CROSS JOIN ${events(11)}
    LEFT JOIN item ON item.event_id = event.event_id
    WHERE NOT (type = 'PaymentFailed' AND was_confirmed)
    ORDER BY event.position
  )
  SELECT FROM held`;

/**
 * Cancels an order, and releases its stock.
 *
 * @param drafts its `OrderCancelled` without whether it was confirmed, the `StockAdjusted` of each change
 *   without stock and version, and the `PaymentFailed` of one that was not confirmed
 * @returns whether it was not cancelled before
 */
export async function cancelUncancelled(
  pool: Pool,
  orderId: string,
  { cause, reason }: Cancellation,
  payment: CancelledPayment,
  changes: readonly OrderedStockChange[],
  drafts: readonly Event[],
): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'order-cancel',
    text: cancel,
    values: [
      orderId,
      cause,
      reason,
      payment.paymentId,
      payment.status,
      payment.reason,
      changes.map(({ productId }) => productId),
      changes.map(({ delta }) => delta),
      changes.map(({ adjustmentId }) => adjustmentId),
      changes.map(({ eventId }) => eventId),
      ...outboxValues(drafts),
      orderEventId(orderId, 'OrderConfirmed'),
    ],
  });
  return rowCount === 1;
}
