/**
 * The list of orders, page by page. Undecided orders come first, the oldest of them first: what has waited longest
 * leads. Decided ones follow, newest first. An order that is decided while somebody pages may be seen in both parts.
 */
import type { OrderStatus } from '../events/orders';
import type { Queryable } from '../platform/postgres/pool';

/** Within how many seconds an order is decided when everything works. */
export const decidedWithinSeconds = 10;

/** Whether a row of `commerce.orders` is undecided for longer than that. */
export const isStuck = `
  (orders.status = 'PLACED' AND orders.created_at < now() - make_interval(secs => ${decidedWithinSeconds}))`;

/** An order of the list. Times are RFC 3339. */
export interface ListedOrder {
  readonly orderId: string;
  readonly userId: string;
  readonly status: OrderStatus;
  /** Undecided for longer than an order takes when everything works: 10 seconds. */
  readonly stuck: boolean;
  /** In the smallest currency unit. */
  readonly totalAmount: number;
  /** Why it was cancelled; null unless it was. */
  readonly reason: string | null;
  readonly productIds: string[];
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Its place in the list, as the next page's `after`. */
  readonly position: OrderPosition;
}

/** A place in the list. The time is as PostgreSQL writes it, with all of its digits. */
export type OrderPosition = readonly [part: string, createdAt: string, orderId: string];

/** The parts of the list, in their order. */
export const orderListParts = ['undecided', 'decided'] as const;

type Part = (typeof orderListParts)[number];

/** Filter of orders; all given conditions must hold. */
export interface OrderFilter {
  readonly status?: OrderStatus | undefined;
  readonly userId?: string | undefined;
  /** Orders with this product among their lines. */
  readonly productId?: string | undefined;
  /** Those that were placed at least as long ago, in seconds. */
  readonly olderThanSeconds?: number | undefined;
}

/** Which part of the list to read. */
export interface OrderPage {
  readonly limit: number;
  /** The position of the last order of the page before. */
  readonly after?: OrderPosition | undefined;
}

/** A page of the list. */
export async function listOrders(
  database: Queryable,
  filter: OrderFilter,
  { limit, after }: OrderPage,
): Promise<ListedOrder[]> {
  const orders: ListedOrder[] = [];
  for (const part of orderListParts.slice(
    orderListParts.indexOf((after?.[0] ?? 'undecided') as Part),
  )) {
    const statuses = statusesOf(part, filter);
    if (statuses.length === 0 || orders.length === limit) continue;
    const page = { limit: limit - orders.length, after: after?.[0] === part ? after : undefined };
    orders.push(...(await readPart(database, part, statuses, filter, page)));
  }
  return orders;
}

function statusesOf(part: Part, { status }: OrderFilter): OrderStatus[] {
  const all: OrderStatus[] = part === 'undecided' ? ['PLACED'] : ['CONFIRMED', 'CANCELLED'];
  return status === undefined ? all : all.filter((each) => each === status);
}

async function readPart(
  database: Queryable,
  part: Part,
  statuses: readonly OrderStatus[],
  filter: OrderFilter,
  { limit, after }: OrderPage,
): Promise<ListedOrder[]> {
  const { userId, productId, olderThanSeconds } = filter;
  const { rows } = await database.query<ListedRow>({
    name: ['orders-list', part, userId && 'of-user', productId && 'of-product']
      .filter(Boolean)
      .join('-'),
    text: orderListStatement(part, filter),
    values: [
      statuses,
      ...(after?.slice(1) ?? [null, null]),
      olderThanSeconds ?? null,
      limit,
      ...[userId, productId].filter((id) => id !== undefined),
    ],
  });
  return rows.map((row) => ({
    ...row,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
    position: [part, row.time, row.orderId],
  }));
}

type ListedRow = Omit<ListedOrder, 'createdAt' | 'updatedAt' | 'position'> & {
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly time: string;
};

// Where a part begins, behind what, and in which direction: each an index condition, so that a page reads as
// many entries as it has orders. The last order's place wins over the age: every page behind it is old enough.
const places = {
  undecided: {
    condition: `
      (created_at, order_id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3, ''))
        AND created_at <= coalesce(now() - make_interval(secs => $4::float8), 'infinity')`,
    order: 'ORDER BY created_at, order_id LIMIT $5',
  },
  decided: {
    condition: `
      (created_at, order_id) < (
        coalesce($2::timestamptz, now() - make_interval(secs => $4::float8), 'infinity'), coalesce($3, ''))`,
    order: 'ORDER BY created_at DESC, order_id DESC LIMIT $5',
  },
} as const;

/** The statement for a page of a part of the list. Exported for the test of its plans. */
export function orderListStatement(
  part: Part,
  { userId, productId }: Pick<OrderFilter, 'userId' | 'productId'>,
): string {
  const ofUser = userId === undefined ? '' : 'AND user_id = $6';
  const productParameter = userId === undefined ? '$6' : '$7';
  const found =
    part === 'decided' && productId !== undefined && userId === undefined
      ? decidedOfProduct
      : ordersOfStatuses(part, ofUser, productId === undefined ? '' : productParameter);
  return `
    SELECT order_id AS "orderId", user_id AS "userId", status, total_amount AS "totalAmount", reason,
      ${isStuck} AS stuck,
      ARRAY(SELECT product_id FROM commerce.order_items
        WHERE order_items.order_id = orders.order_id ORDER BY product_id) AS "productIds",
      created_at AS "createdAt", updated_at AS "updatedAt", created_at::text AS time
    FROM (${found}) AS orders
    ${places[part].order}`;
}

// One short index scan for each status. That an order has a product is asked of each, by the primary key; as a
// scalar, since the planner would otherwise be free to begin with all lines of the product.
function ordersOfStatuses(part: Part, ofUser: string, productParameter: string): string {
  const { condition, order } = places[part];
  const ofProduct =
    productParameter === ''
      ? ''
      : `AND (SELECT true FROM commerce.order_items
          WHERE order_items.order_id = orders.order_id AND product_id = ${productParameter})`;
  return `
    SELECT of_status.* FROM unnest($1::text[]) AS wanted (wanted_status)
    CROSS JOIN LATERAL (
      SELECT * FROM commerce.orders
      WHERE status = wanted_status ${ofUser} AND ${condition} ${ofProduct}
      ${order}) AS of_status`;
}

// By the reservations of the product, which have the times of their orders. Reads past those in other statuses;
// each is asked of as a scalar, for the same reason.
const decidedOfProduct = `
  SELECT orders.* FROM (
    SELECT order_id FROM commerce.stock_adjustments
    WHERE product_id = $6 AND reason = 'order' AND ${places.decided.condition}
      AND (SELECT status FROM commerce.orders
        WHERE orders.order_id = stock_adjustments.order_id) = ANY($1::text[])
    ${places.decided.order}) AS reserved
  JOIN commerce.orders USING (order_id)`;

/** The place of an order in the list as it is now; undefined when it is not stored. */
export async function findOrderPosition(
  database: Queryable,
  orderId: string,
): Promise<OrderPosition | undefined> {
  const { rows } = await database.query<{ position: OrderPosition }>({
    name: 'order-position',
    text: `
      SELECT ARRAY[CASE status WHEN 'PLACED' THEN 'undecided' ELSE 'decided' END,
        created_at::text, order_id] AS position
      FROM commerce.orders WHERE order_id = $1`,
    values: [orderId],
  });
  return rows[0]?.position;
}
