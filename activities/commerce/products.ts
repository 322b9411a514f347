/** Registration of products. */
import type { Pool, PoolClient } from 'pg';
import {
  registerProduct,
  type ProductRegistration,
  type RegisterProduct,
} from '../../events/commands/register-product';
import { createEvent, type EventOf } from '../../events/envelope';
import { deriveEventId } from '../../events/identifiers';
import { inTransaction } from '../../platform/postgres/pool';
import { refusingBadData } from '../failures';
import { appendToOutbox, idAfterLoss, isAdopted } from './outbox';

export function createProductActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Creates the product and its `ProductRegistered` in the outbox. Idempotent: a retry returns
     * the same. A product that a restore has lost is created under another ID.
     */
    async createProduct(command: RegisterProduct): Promise<ProductRegistration> {
      return refusingBadData(() =>
        inTransaction(pool, (connection) => register(connection, command)),
      );
    },
  };
}

/**
 * The first version of a lost product is told, and so may be others that followed, likes and sales: another
 * product begins anew, as it does where the `Idempotency-Key` was lost, too.
 */
async function register(
  connection: PoolClient,
  command: RegisterProduct,
): Promise<ProductRegistration> {
  const event = toEvent(command);
  const { productId, name, price, stock } = event.data;
  if (await isAdopted(connection, event.id)) {
    const another = idAfterLoss(event.id, event.type, productId);
    return register(connection, { ...command, productId: another });
  }
  const { rowCount } = await connection.query({
    name: 'product-insert',
    text: `
      INSERT INTO commerce.products (product_id, name, price, stock, stock_version)
      VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (product_id) DO NOTHING`,
    values: [productId, name, price, stock, event.data.version],
  });
  if (rowCount === 1) await appendToOutbox(connection, [event]);
  return { ...event.data, eventId: event.id };
}

function toEvent(command: RegisterProduct): EventOf<'ProductRegistered'> {
  const { productId, name, price, stock } = command;
  return createEvent({
    id: deriveEventId(registerProduct.workflowId(command), 'ProductRegistered', productId),
    type: 'ProductRegistered',
    time: new Date(),
    data: { productId, name, price, stock, version: 1 },
  });
}
