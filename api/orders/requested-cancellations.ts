/**
 * Cancellations that are promised before they are carried out, in PostgreSQL: a workflow that has accepted one
 * is as durable as Temporal's history, which a failover or a restore of Temporal may lose.
 */
import type { CancelOrder } from '../../events/orders';
import type { Database } from '../http/database';

/**
 * Records a cancellation. What Temporal forgets of it, the delivery audit has carried out. Of several for an
 * order the first stays.
 *
 * @throws DatabaseUnavailableError when PostgreSQL is unavailable: then it must not be promised
 */
export async function recordCancellation(
  database: Database,
  orderId: string,
  { reason }: CancelOrder,
): Promise<void> {
  await database.query({
    name: 'cancellation-record',
    text: `
      INSERT INTO commerce.requested_cancellations (order_id, reason) VALUES ($1, $2)
      ON CONFLICT DO NOTHING`,
    values: [orderId, reason],
  });
}
