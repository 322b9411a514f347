/** Changing the stock of products. */
import type { Pool, PoolClient } from 'pg';
import type { AdjustStock, StockOutcome } from '../events/commands';
import { createEvent } from '../events/envelope';
import { deriveEventId } from '../events/identifiers';
import { workflowIdPrefixes } from '../events/workflow-id-prefixes';
import { inTransaction } from '../platform/postgres';
import { refusingBadData } from './failures';
import { appendToOutbox } from './outbox';

/** The activities of stock. */
export function createStockActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Changes the stock and writes its `StockAdjusted` to the outbox, in one transaction. The
     * adjustment's ID makes trying again change nothing and answer the first outcome.
     */
    async changeStock(command: AdjustStock): Promise<StockOutcome> {
      return refusingBadData(() =>
        inTransaction(pool, (connection) => changeOnce(connection, command)),
      );
    },
  };
}

interface StockRow {
  readonly stock: number;
  readonly stock_version: number;
}

async function changeOnce(connection: PoolClient, command: AdjustStock): Promise<StockOutcome> {
  const product = await lockProduct(connection, command.productId);
  if (product === undefined) return { kind: 'unknown-product' };
  // Looked for under the lock: an earlier try that is still committing has committed by now.
  const earlier = await findAdjustment(connection, command.adjustmentId);
  if (earlier !== undefined) return earlier;
  const stock = product.stock + command.delta;
  if (stock < 0 || !Number.isSafeInteger(stock)) {
    return { kind: 'stock-out-of-range', stock: product.stock };
  }
  return applyChange(connection, command, product, stock);
}

async function lockProduct(connection: PoolClient, productId: string): Promise<StockRow | undefined> {
  const { rows } = await connection.query<StockRow>({
    name: 'product-lock',
    text: `
      SELECT stock, stock_version FROM commerce.products
      WHERE product_id = $1 FOR NO KEY UPDATE`,
    values: [productId],
  });
  return rows[0];
}

async function findAdjustment(
  connection: PoolClient,
  adjustmentId: string,
): Promise<StockOutcome | undefined> {
  const { rows } = await connection.query<{ stock: number; version: number; event_id: string }>({
    name: 'stock-adjustment-find',
    text: `
      SELECT stock, version, event_id FROM commerce.stock_adjustments
      WHERE adjustment_id = $1`,
    values: [adjustmentId],
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  return { kind: 'adjusted', stock: row.stock, version: row.version, eventId: row.event_id };
}

async function applyChange(
  connection: PoolClient,
  { adjustmentId, productId, delta, reason }: AdjustStock,
  { stock: previousStock, stock_version: previousVersion }: StockRow,
  stock: number,
): Promise<StockOutcome> {
  const version = previousVersion + 1;
  const workflowId = workflowIdPrefixes.adjustStock + adjustmentId;
  const event = createEvent({
    id: deriveEventId(workflowId, 'StockAdjusted', productId),
    type: 'StockAdjusted',
    time: new Date(),
    data: { productId, delta, stock, previousStock, reason, version },
  });
  await connection.query({
    name: 'stock-change',
    text: `
      WITH adjustment AS (
        INSERT INTO commerce.stock_adjustments
          (adjustment_id, product_id, delta, previous_stock, stock, version, reason, event_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8))
      UPDATE commerce.products SET stock = $5, stock_version = $6, updated_at = now()
      WHERE product_id = $2`,
    values: [adjustmentId, productId, delta, previousStock, stock, version, reason, event.id],
  });
  await appendToOutbox(connection, [event]);
  return { kind: 'adjusted', stock, version, eventId: event.id };
}
