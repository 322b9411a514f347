/**
 * What operators read of the collector's tables.
 *
 * Pages follow a key, not an offset: each begins behind the last row of the one before. Metrics
 * change while they are paged through, so a product whose figure changes meanwhile may come twice
 * or not at all; those that do not change come exactly once.
 */
import {
  listEvents,
  type LogFilter,
  type LoggedEvent,
  type LogPosition,
} from '../../operations/event-log';
import { asQueryable, type Database } from '../http/database';

/** What products can be ranked by. */
export const rankings = ['sales', 'likes', 'views'] as const;

/** What products are ranked by. */
type Ranking = (typeof rankings)[number];

/** A product in a ranking. Of one day: what that day added. */
interface RankedProduct {
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

/** All that is known of a product. */
interface ProductMetrics {
  readonly productId: string;
  readonly viewCount: number;
  readonly likeCount: number;
  readonly salesCount: number;
  /** Null until an event has told of it. */
  readonly stock: number | null;
  readonly updatedAt: Date;
}

/** What one user did with a product. */
interface ProductUser {
  readonly userId: string;
  readonly viewCount: number;
  readonly liked: boolean;
  readonly purchaseCount: number;
  readonly lastEventAt: Date;
}

/** An event of a product's history. */
interface HistoryEvent extends LoggedEvent {
  /** Null until it has been handled. */
  readonly handledAt: Date | null;
  /** The workflow that handled it; null until it has been. */
  readonly workflowId: string | null;
}

/** What was handled in a stretch of time. */
interface HandledRate {
  /** When it began. */
  readonly at: Date;
  readonly events: number;
  /** From an event's own time to when it was handled, in ms; of a sample where there are many. */
  readonly medianMs: number | null;
  readonly p95Ms: number | null;
}

/** A place in a product's history: when it was logged, and the event's ID. */
type HistoryPosition = readonly [recordedAt: string, eventId: string];

/** Which part of a list to read. */
interface Page<Position> {
  readonly limit: number;
  readonly after?: Position | undefined;
}

/** Reads the collector's tables. Each call throws DatabaseUnavailableError when PostgreSQL is away. */
export interface CollectorReads {
  /** Products by figure, the highest first, then by ID. @param day `YYYY-MM-DD` in UTC; all time without */
  rank(by: Ranking, page: Page<RankPosition>, day?: string): Promise<RankedProduct[]>;
  /** Undefined when no event has told of the product. */
  findProduct(productId: string): Promise<ProductMetrics | undefined>;
  /** By the users' IDs. */
  listUsers(productId: string, page: Page<string>): Promise<ProductUser[]>;
  /** What the log has of a product, the newest first. */
  listHistory(productId: string, page: Page<HistoryPosition>): Promise<HistoryEvent[]>;
  /** How many events were handled, and how fast, in stretches of time until now; the oldest first. */
  readRates(stretch: { readonly seconds: number; readonly count: number }): Promise<HandledRate[]>;
  /** In the order of the log. */
  listEvents(filter: LogFilter, page: Page<LogPosition>): Promise<LoggedEvent[]>;
}

/** Reads from the tables of `collector`. */
export function createCollectorReads(database: Database): CollectorReads {
  return {
    rank: (by, { limit, after }, day) =>
      database.query<RankedProduct>({
        name: `rank-by-${by}${day === undefined ? '' : '-of-a-day'}`,
        text: day === undefined ? rankOfAllTime(by) : rankOfDay(by),
        values: [...(after ?? [null, null]), limit, ...(day === undefined ? [] : [day])],
      }),

    async findProduct(productId) {
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
        values: [productId, after ?? '', limit],
      }),

    listHistory: (productId, { limit, after }) =>
      database.query<HistoryEvent>({
        name: 'product-history',
        text: historyOfProduct,
        values: [productId, ...(after ?? ['infinity', '']), limit],
      }),

    readRates: ({ seconds, count }) =>
      database.query<HandledRate>({
        name: 'handled-rates',
        text: ratesStatement,
        values: [seconds, count, sampledEvents],
      }),

    listEvents: (filter, page) =>
      listEvents(asQueryable(database), filter, { order: 'oldest-first', ...page }),
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

// Latencies need the log as well, row by row: more of them than this are estimated.
const sampledEvents = 10_000;

const ratesStatement = `
  WITH stretch AS (
    SELECT to_timestamp((floor(extract(epoch FROM now()) / $1::int) - n) * $1::int) AS at
    FROM generate_series(0, $2::int - 1) AS n
  ),
  handled AS MATERIALIZED (
    SELECT event_id, handled_at,
      to_timestamp(floor(extract(epoch FROM handled_at) / $1::int) * $1::int) AS at
    FROM collector.event_handled WHERE handled_at >= (SELECT min(at) FROM stretch)
  ),
  counted AS (SELECT at, count(*) AS events FROM handled GROUP BY at),
  sampled AS MATERIALIZED (
    SELECT * FROM handled WHERE random() < $3::float8 / (SELECT count(*) + 1 FROM handled)
  ),
  timed AS (
    SELECT at, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
      ORDER BY greatest(extract(epoch FROM handled_at - occurred_at) * 1000, 0)::float8) AS ms
    FROM sampled JOIN collector.event_log USING (event_id) GROUP BY at
  )
  SELECT at, coalesce(events, 0) AS events, ms[1] AS "medianMs", ms[2] AS "p95Ms"
  FROM stretch LEFT JOIN counted USING (at) LEFT JOIN timed USING (at) ORDER BY at`;
