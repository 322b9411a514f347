/** Stock changes: by an operator's adjustment, or as part of an order. */
import type { Pool, PoolClient } from 'pg';
import {
  adjustStock,
  type AdjustStock,
  type StockOutcome,
} from '../../events/commands/adjust-stock';
import { createEvent, type EventOf } from '../../events/envelope';
import { deriveEventId } from '../../events/identifiers';
import type { StockReason } from '../../events/types/stock-adjusted';
import { inTransaction } from '../../platform/postgres/pool';
import { refusingBadData } from '../failures';
import { appendToOutbox } from './outbox';

export function createStockActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Changes the stock and writes its `StockAdjusted` to the outbox, in one transaction. Idempotent by
     * the adjustment's ID: a retry returns the first outcome.
     */
    async changeStock(command: AdjustStock): Promise<StockOutcome> {
      return refusingBadData(() =>
        inTransaction(pool, (connection) => adjustOnce(connection, command)),
      );
    },
  };
}

/** A product as it is while its row is locked. */
export interface LockedProduct {
  readonly productId: string;
  readonly price: number;
  readonly stock: number;
  readonly stockVersion: number;
}

/** One change of a product's stock. */
export interface StockChange {
  /** Primary key: a change happens once. */
  readonly adjustmentId: string;
  readonly eventId: string;
  readonly product: LockedProduct;
  /** Units to add, or to take away when negative. */
  readonly delta: number;
  readonly reason: StockReason;
  readonly orderId?: string;
}

/**
 * Locks the rows of products until the transaction ends, always in the order of their IDs, so that two
 * transactions with products in common wait for each other instead of deadlocking.
 *
 * @returns those that exist, by ID
 */
export async function lockProducts(
  connection: PoolClient,
  productIds: readonly string[],
): Promise<ReadonlyMap<string, LockedProduct>> {
  const { rows } = await connection.query<LockedProduct>({
    name: 'products-lock',
    text: `
      SELECT product_id AS "productId", price, stock, stock_version AS "stockVersion"
      FROM commerce.products WHERE product_id = ANY($1::text[])
      ORDER BY product_id FOR NO KEY UPDATE`,
    values: [productIds],
  });
  return new Map(rows.map((row) => [row.productId, row]));
}

/**
 * Applies changes to locked products, and returns their events, which the caller has to add to the
 * outbox. The changes must be within the range of stock.
 */
export async function applyStockChanges(
  connection: PoolClient,
  changes: readonly StockChange[],
): Promise<EventOf<'StockAdjusted'>[]> {
  const events = changes.map(toEvent);
  await connection.query({
    name: 'stock-change',
    text: `
      WITH change AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
          $6::bigint[], $7::text[], $8::text[], $9::text[])
        AS change (adjustment_id, product_id, delta, previous_stock, stock, version, reason, order_id, event_id)
      ), adjustment AS (
        INSERT INTO commerce.stock_adjustments
          (adjustment_id, product_id, delta, previous_stock, stock, version, reason, order_id, event_id)
        SELECT * FROM change)
      UPDATE commerce.products
      SET stock = change.stock, stock_version = change.version, updated_at = now()
      FROM change WHERE products.product_id = change.product_id`,
    values: [
      changes.map(({ adjustmentId }) => adjustmentId),
      events.map(({ data }) => data.productId),
      events.map(({ data }) => data.delta),
      events.map(({ data }) => data.previousStock),
      events.map(({ data }) => data.stock),
      events.map(({ data }) => data.version),
      events.map(({ data }) => data.reason),
      events.map(({ data }) => data.orderId ?? null),
      events.map(({ id }) => id),
    ],
  });
  return events;
}

// Half of the safe integers: what cancelled orders release always fits on top.
const maxRestockedLevel = 2 ** 52;

/** Whether an adjustment may lead to this stock level: not below 0, and not above the limit. */
function isAllowed(stock: number, delta: number): boolean {
  return stock >= 0 && (delta <= 0 || stock <= maxRestockedLevel);
}

function toEvent({ eventId, product, delta, reason, orderId }: StockChange) {
  return createEvent({
    id: eventId,
    type: 'StockAdjusted',
    time: new Date(),
    data: {
      productId: product.productId,
      delta,
      stock: product.stock + delta,
      previousStock: product.stock,
      reason,
      ...(orderId === undefined ? {} : { orderId }),
      version: product.stockVersion + 1,
    },
  });
}

async function adjustOnce(connection: PoolClient, command: AdjustStock): Promise<StockOutcome> {
  const { adjustmentId, productId, delta, reason } = command;
  const product = (await lockProducts(connection, [productId])).get(productId);
  if (product === undefined) return { kind: 'unknown-product' };
  // Checked under the lock: an earlier attempt has committed by now.
  const earlier = await findAdjustment(connection, adjustmentId);
  if (earlier !== undefined) return earlier;
  if (!isAllowed(product.stock + delta, delta)) {
    return { kind: 'stock-out-of-range', stock: product.stock };
  }
  const workflowId = adjustStock.workflowId(command);
  const eventId = deriveEventId(workflowId, 'StockAdjusted', productId);
  const change = { adjustmentId, eventId, product, delta, reason };
  const events = await applyStockChanges(connection, [change]);
  await appendToOutbox(connection, events);
  const { stock, version } = events[0]!.data;
  return { kind: 'adjusted', stock, version, eventId };
}

async function findAdjustment(
  connection: PoolClient,
  adjustmentId: string,
): Promise<StockOutcome | undefined> {
  const { rows } = await connection.query<{ stock: number; version: number; eventId: string }>({
    name: 'stock-adjustment-find',
    text: `
      SELECT stock, version, event_id AS "eventId" FROM commerce.stock_adjustments
      WHERE adjustment_id = $1`,
    values: [adjustmentId],
  });
  return rows[0] && { kind: 'adjusted', ...rows[0] };
}
