/** Step: an operator reduces the stock to 0. */
import { z } from 'zod';
import { confirm } from './confirm';
import type { StoryProduct } from './register-product';
import type { World } from './world';

/** Result of the adjustment. */
export interface SoldOut {
  readonly stock: number;
  readonly version: number;
  /** Of its `StockAdjusted`. */
  readonly eventId: string;
  /** The adjustment's ID, in its workflow ID. */
  readonly adjustmentId: string;
}

const adjustment = z.object({ stock: z.int(), version: z.int(), eventId: z.string() });

/** Adjusts the stock to 0. */
export async function adjustToSoldOut(world: World, product: StoryProduct): Promise<SoldOut> {
  const { shop, page } = world;
  const body = { delta: -product.stock, reason: 'correction' };
  const path = `/v1/products/${product.productId}/stock-adjustments`;
  const answer = await shop.post(path, { as: 'operator', body });
  confirm('the status', answer.status, 201);
  const { stock, version, eventId } = adjustment.parse(answer.body);
  confirm('the adjustment', { stock, version }, { stock: 0, version: product.version + 1 });
  page.confirmed('decided and answered without waiting for Kafka');
  return { stock, version, eventId, adjustmentId: await findAdjustmentId(world, eventId) };
}

async function findAdjustmentId({ pool }: World, eventId: string): Promise<string> {
  const { rows } = await pool.query<{ adjustment_id: string }>(
    'SELECT adjustment_id FROM commerce.stock_adjustments WHERE event_id = $1',
    [eventId],
  );
  confirm('the number of rows of this adjustment', rows.length, 1);
  return rows[0]?.adjustment_id ?? '';
}
