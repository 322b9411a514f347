/** Stock changes by an operator's adjustment. Those of orders are in order-statements.ts. */
import type { Pool, PoolClient } from 'pg';
import {
  adjustStock,
  type AdjustStock,
  type StockOutcome,
} from '../../events/commands/adjust-stock';
import { createEvent, type EventOf } from '../../events/envelope';
import { deriveEventId } from '../../events/identifiers';
import { inTransaction } from '../../platform/postgres/pool';
import { refusingBadData } from '../failures';
import { appendUnderFreeId } from './outbox';
import { rememberingRefusal } from './refusals';

export function createStockActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Changes the stock and writes its `StockAdjusted` to the outbox, in one transaction. Idempotent by
     * the adjustment's ID: a retry returns the first outcome, also one that changed nothing. One that a
     * restore has lost is decided anew.
     */
    async changeStock(command: AdjustStock): Promise<StockOutcome> {
      return refusingBadData(() =>
        inTransaction(pool, (connection) =>
          rememberingRefusal(
            connection,
            adjustStock.workflowId(command),
            ({ kind }) => kind !== 'adjusted',
            () => adjust(connection, command),
          ),
        ),
      );
    },
  };
}

// Half of the safe integers: what cancelled orders release always fits on top.
const maxRestockedLevel = 2 ** 52;

/** Whether an adjustment may lead to this stock level: not below 0, and not above the limit. */
function isAllowed(stock: number, delta: number): boolean {
  return stock >= 0 && (delta <= 0 || stock <= maxRestockedLevel);
}

async function adjust(connection: PoolClient, command: AdjustStock): Promise<StockOutcome> {
  const { adjustmentId, productId, delta } = command;
  const product = await lockProduct(connection, productId);
  if (product === undefined) return { kind: 'unknown-product' };
  const earlier = await findAdjustment(connection, adjustmentId);
  if (earlier !== undefined) return earlier;
  if (!isAllowed(product.stock + delta, delta)) {
    return { kind: 'stock-out-of-range', stock: product.stock };
  }
  const event = await appendUnderFreeId(connection, toEvent(command, product));
  await change(connection, adjustmentId, event);
  const { stock, version } = event.data;
  return { kind: 'adjusted', stock, version, eventId: event.id };
}

/** A product's stock while its row is locked. */
interface LockedStock {
  readonly stock: number;
  readonly stockVersion: number;
}

async function lockProduct(
  connection: PoolClient,
  productId: string,
): Promise<LockedStock | undefined> {
  const { rows } = await connection.query<LockedStock>({
    name: 'product-lock',
    text: `
      SELECT stock, stock_version AS "stockVersion"
      FROM commerce.products WHERE product_id = $1 FOR NO KEY UPDATE`,
    values: [productId],
  });
  return rows[0];
}

function toEvent(command: AdjustStock, product: LockedStock): EventOf<'StockAdjusted'> {
  const { productId, delta, reason } = command;
  return createEvent({
    id: deriveEventId(adjustStock.workflowId(command), 'StockAdjusted', productId),
    type: 'StockAdjusted',
    time: new Date(),
    data: {
      productId,
      delta,
      stock: product.stock + delta,
      previousStock: product.stock,
      reason,
      version: product.stockVersion + 1,
    },
  });
}

async function change(
  connection: PoolClient,
  adjustmentId: string,
  { id, data }: EventOf<'StockAdjusted'>,
): Promise<void> {
  await connection.query({
    name: 'stock-change',
    text: `
      WITH adjustment AS (
        INSERT INTO commerce.stock_adjustments
          (adjustment_id, product_id, delta, previous_stock, stock, version, reason, event_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8))
      UPDATE commerce.products SET stock = $5, stock_version = $6, updated_at = now()
      WHERE product_id = $2`,
    values: [
      adjustmentId,
      data.productId,
      data.delta,
      data.previousStock,
      data.stock,
      data.version,
      data.reason,
      id,
    ],
  });
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
