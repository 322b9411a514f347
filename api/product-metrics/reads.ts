/**
 * Metrics of products in the collector's tables.
 *
 * Paging is by key, not by offset. A product whose figure changes while a client pages may appear
 * twice or not at all; those that do not change appear exactly once.
 */
import type { LoggedEvent } from '../../operations/event-log';
import type { Database } from '../http/database';
import type { PageRequest } from '../http/pages';
import type { Ranking } from './schemas';

/** A product in a ranking. Of one day: what that day added. */
export interface RankedProduct {
  readonly productId: string;
  readonly viewCount: number;
  readonly likeCount: number;
  /** Exact up to 2^53 - 1, and rounded above: foreign producers may sell that much. */
  readonly salesCount: number;
  /** Its place in the ranking, as the next page's `after`. */
  readonly position: RankPosition;
}

/** A place in a ranking: the figure as digits, since it may be larger than a number holds, and the ID. */
type RankPosition = readonly [figure: string, productId: string];

/** Metrics of a product. */
interface ProductMetrics {
  readonly productId: string;
  readonly viewCount: number;
  readonly likeCount: number;
  readonly salesCount: number;
  /** Null until an event reports it. */
  readonly stock: number | null;
  readonly updatedAt: Date;
}

/** What one user did with a product. */
export interface ProductUser {
  readonly userId: string;
  readonly viewCount: number;
  readonly liked: boolean;
  readonly purchaseCount: number;
  readonly lastEventAt: Date;
}

/** A place among the users of a product. */
type UserPosition = readonly [userId: string];

/** An event of a product's history. */
export interface HistoryEvent extends LoggedEvent {
  /** Null until it has been handled. */
  readonly handledAt: Date | null;
  /** The workflow that handled it; null until it has been. */
  readonly workflowId: string | null;
}

/** A place in a product's history: when it was logged, and the event's ID. */
type HistoryPosition = readonly [recordedAt: string, eventId: string];

/** Reads metrics. Each call throws DatabaseUnavailableError when PostgreSQL is unavailable. */
export interface ProductMetricsReads {
  /** Products by figure, the highest first, then by ID. @param day `YYYY-MM-DD` in UTC; default: all time */
  rank(by: Ranking, page: PageRequest<RankPosition>, day?: string): Promise<RankedProduct[]>;
  /** Undefined when no event of the product has been handled. */
  find(productId: string): Promise<ProductMetrics | undefined>;
  /** By the users' IDs. */
  listUsers(productId: string, page: PageRequest<UserPosition>): Promise<ProductUser[]>;
  /** Events of a product in the log, newest first. */
  listHistory(productId: string, page: PageRequest<HistoryPosition>): Promise<HistoryEvent[]>;
}

/** Reads from the tables of `collector`. */
export function createProductMetricsReads(database: Database): ProductMetricsReads {
  return {
    rank: (by, { limit, after }, day) =>
      database.query<RankedProduct>({
        name: `rank-by-${by}${day === undefined ? '' : '-of-a-day'}`,
        text: day === undefined ? rankOfAllTime(by) : rankOfDay(by),
        values: [...(after ?? [null, null]), limit, ...(day === undefined ? [] : [day])],
      }),

    async find(productId) {
      const rows = await database.query<ProductMetrics>({
        name: 'product-metrics',
        text: `
          SELECT product_id AS "productId", view_count AS "viewCount", like_count AS "likeCount",
            sales_count::float8 AS "salesCount", stock, updated_at AS "updatedAt"
          FROM collector.product_metrics WHERE product_id = $1`,
        values: [productId],
      });
      return rows[0];
    },

    listUsers: (productId, { limit, after }) =>
      database.query<ProductUser>({
        name: 'product-users',
        text: `
          SELECT user_id AS "userId", view_count AS "viewCount", liked,
            purchase_count::float8 AS "purchaseCount", last_event_at AS "lastEventAt"
          FROM collector.product_user_metrics
          WHERE product_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3`,
        values: [productId, ...(after ?? ['']), limit],
      }),

    listHistory: (productId, { limit, after }) =>
      database.query<HistoryEvent>({
        name: 'product-history',
        text: historyOfProduct,
        values: [productId, ...(after ?? ['infinity', '']), limit],
      }),
  };
}

const figures = { sales: 'sales_count', likes: 'like_count', views: 'view_count' } as const;
const dailyFigures = { ...figures, likes: 'like_delta' } as const;

function rankOfAllTime(by: Ranking): string {
  return rankStatement(figures[by], 'like_count', 'collector.product_metrics', 'true');
}

function rankOfDay(by: Ranking): string {
  const table = 'collector.product_metrics_daily';
  return rankStatement(dailyFigures[by], 'like_delta', table, 'day = $4::date');
}

function rankStatement(figure: string, likes: string, table: string, condition: string): string {
  return `
    SELECT product_id AS "productId", view_count AS "viewCount", ${likes} AS "likeCount",
      sales_count::float8 AS "salesCount", ARRAY[${figure}::text, product_id] AS position
    FROM ${table}
    WHERE ${condition} AND ($1::numeric IS NULL OR ${figure} < $1::numeric
      OR (${figure} = $1::numeric AND product_id > $2))
    ORDER BY ${figure} DESC, product_id LIMIT $3`;
}

// Its position is not the log's: it orders by time, and is not followed.
const historyOfProduct = `
  SELECT event_id AS "eventId", type, topic, partition, "offset", aggregate_id AS "aggregateId",
    occurred_at AS "occurredAt", recorded_at AS "recordedAt", payload AS event,
    handled_at AS "handledAt", workflow_id AS "workflowId",
    ARRAY[recorded_at::text, event_id] AS position
  FROM collector.event_log LEFT JOIN collector.event_handled USING (event_id)
  WHERE aggregate_id = $1 AND (recorded_at, event_id) < ($2::timestamptz, $3)
  ORDER BY recorded_at DESC, event_id DESC LIMIT $4`;
