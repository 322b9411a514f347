/** Registration of products. */
import type { Pool } from 'pg';
import {
  registerProduct,
  type ProductRegistration,
  type RegisterProduct,
} from '../../events/commands/register-product';
import { createEvent } from '../../events/envelope';
import { deriveEventId } from '../../events/identifiers';
import { inTransaction } from '../../platform/postgres/pool';
import { refusingBadData } from '../failures';
import { appendToOutbox } from './outbox';

export function createProductActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Creates the product and its `ProductRegistered` in the outbox. Idempotent: a retry returns
     * the same.
     */
    async createProduct(command: RegisterProduct): Promise<ProductRegistration> {
      const { productId, name, price, stock } = command;
      const version = 1;
      const workflowId = registerProduct.workflowId(command);
      const eventId = deriveEventId(workflowId, 'ProductRegistered', productId);
      await refusingBadData(() =>
        inTransaction(pool, async (connection) => {
          const { rowCount } = await connection.query({
            name: 'product-insert',
            text: `
              INSERT INTO commerce.products (product_id, name, price, stock, stock_version)
              VALUES ($1, $2, $3, $4, $5)
              ON CONFLICT (product_id) DO NOTHING`,
            values: [productId, name, price, stock, version],
          });
          if (rowCount === 0) return;
          const data = { productId, name, price, stock, version };
          const event = { id: eventId, type: 'ProductRegistered', time: new Date(), data } as const;
          await appendToOutbox(connection, [createEvent(event)]);
        }),
      );
      return { productId, name, price, stock, version, eventId };
    },
  };
}
