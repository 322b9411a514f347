/** Orders as the database has them. */
import type { OrderItem } from '../../events/fields';
import type { OrderStatus } from '../../events/orders';
import { workflowIds } from '../../events/workflow-ids';
import type { Database } from '../http/database';

/** An order, with its lines in the order of their products. */
export interface StoredOrder {
  readonly orderId: string;
  readonly userId: string;
  readonly status: OrderStatus;
  readonly items: readonly OrderItem[];
  /** In the smallest currency unit. */
  readonly totalAmount: number;
  /** Why it was cancelled; null unless it was. */
  readonly reason: string | null;
  /** Null until the payment is decided. */
  readonly payment: StoredPayment | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** The payment of an order that is decided. */
interface StoredPayment {
  readonly status: 'captured' | 'failed' | 'refunded';
  readonly amount: number;
  readonly reason: string | null;
}

/** Reads orders. Each call throws DatabaseUnavailableError when PostgreSQL is unavailable. */
export interface OrderReads {
  find(orderId: string): Promise<StoredOrder | undefined>;
  /** IDs of the orders of a user that are neither confirmed nor cancelled. */
  findUndecided(userId: string): Promise<string[]>;
  /** Those of the IDs whose order is stored, in any status, or was refused for good. */
  findAnswered(orderIds: readonly string[]): Promise<string[]>;
}

/** Reads from the tables of `commerce`. */
export function createOrderReads(database: Database): OrderReads {
  return {
    async find(orderId) {
      const rows = await database.query<StoredOrder>({
        name: 'order-read',
        text: `
          SELECT order_id AS "orderId", user_id AS "userId", orders.status,
            total_amount AS "totalAmount", orders.reason,
            orders.created_at AS "createdAt", orders.updated_at AS "updatedAt",
            (SELECT jsonb_agg(jsonb_build_object(
                'productId', product_id, 'quantity', quantity, 'unitPrice', unit_price)
                ORDER BY product_id)
              FROM commerce.order_items WHERE order_items.order_id = orders.order_id) AS items,
            CASE WHEN payments.order_id IS NOT NULL THEN jsonb_build_object(
              'status', payments.status, 'amount', payments.amount, 'reason', payments.reason)
            END AS payment
          FROM commerce.orders LEFT JOIN commerce.payments USING (order_id)
          WHERE order_id = $1`,
        values: [orderId],
      });
      return rows[0];
    },

    // By the index `orders_of_user`.
    async findUndecided(userId) {
      const rows = await database.query<{ order_id: string }>({
        name: 'orders-undecided',
        text: `
          SELECT order_id FROM commerce.orders WHERE status = 'PLACED' AND user_id = $1`,
        values: [userId],
      });
      return rows.map(({ order_id }) => order_id);
    },

    async findAnswered(orderIds) {
      const rows = await database.query<{ order_id: string }>({
        name: 'orders-answered',
        text: `
          SELECT order_id FROM unnest($1::text[], $2::text[]) AS asked (order_id, command_id)
          WHERE EXISTS (SELECT FROM commerce.orders WHERE orders.order_id = asked.order_id)
            OR EXISTS (SELECT FROM commerce.refusals WHERE refusals.command_id = asked.command_id)`,
        values: [orderIds, orderIds.map(workflowIds.placeOrder)],
      });
      return rows.map(({ order_id }) => order_id);
    },
  };
}
