/**
 * What operators read of the collector's tables.
 *
 * Pages follow a key, not an offset: each begins behind the last row of the one before. Metrics
 * change while they are paged through, so a product whose figure changes meanwhile may come twice
 * or not at all; those that do not change come exactly once.
 *
 * The audit log is read in an order that only grows at its end, so whoever follows it sees every
 * event exactly once, however late it was committed. `recorded_at` cannot give that order: it is
 * drawn before the commit, and a row that is committed late would slip in behind a reader who has
 * passed. So rows are ordered by the transaction that wrote them, and shown once every transaction
 * up to that one is over. The price: a transaction that writes anywhere in this server and stays
 * open holds back what is logged after it began, until it ends.
 */
import type { EventType } from '../events/schemas';
import type { Database } from './database';

/** What products can be ranked by. */
export const rankings = ['sales', 'likes', 'views'] as const;

/** What products are ranked by. */
export type Ranking = (typeof rankings)[number];

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
export type RankPosition = readonly [figure: string, productId: string];

/** All that is known of a product. */
export interface ProductMetrics {
  readonly productId: string;
  readonly viewCount: number;
  readonly likeCount: number;
  readonly salesCount: number;
  /** Null until an event has told of it. */
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

/** An event of the audit log. */
export interface LoggedEvent {
  readonly eventId: string;
  readonly type: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly aggregateId: string;
  readonly occurredAt: Date;
  readonly recordedAt: Date;
  /** The whole event, its envelope included. */
  readonly event: object;
  /** Its place in the log, as the next page's `after`. */
  readonly position: LogPosition;
}

/** A place in the audit log: the transaction, and the event's ID. */
export type LogPosition = readonly [transaction: string, eventId: string];

/** Which events to read. */
export interface LogFilter {
  /** Of one of these types. */
  readonly types: readonly EventType[];
  readonly aggregateId?: string | undefined;
}

/** Which part of a list to read. */
export interface Page<Position> {
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

    listEvents({ types, aggregateId }, { limit, after = beginning }) {
      const position = [types, ...after, limit];
      return aggregateId === undefined
        ? database.query<LoggedEvent>({ name: 'event-log', text: logByType, values: position })
        : database.query<LoggedEvent>({
            name: 'event-log-of-aggregate',
            text: logOfAggregate,
            values: [...position, aggregateId],
          });
    },
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

const beginning: LogPosition = ['0', ''];

const logColumns = `
  event_id AS "eventId", type, topic, partition, "offset", aggregate_id AS "aggregateId",
  occurred_at AS "occurredAt", recorded_at AS "recordedAt", payload AS event,
  ARRAY[recorded_in::text, event_id] AS position`;

// Over are all transactions before the oldest that is still running. One that has not begun yet, as
// this server counts, comes from a server that these rows were restored from.
const transactionIsOver = `(
  recorded_in < (SELECT pg_snapshot_xmin(pg_current_snapshot()))
  OR recorded_in >= (SELECT pg_snapshot_xmax(pg_current_snapshot())))`;

const logByType = `
  SELECT ${logColumns}
  FROM unnest($1::text[]) AS wanted (wanted_type)
  CROSS JOIN LATERAL (
    SELECT * FROM collector.event_log
    WHERE type = wanted_type AND (recorded_in, event_id) > ($2::xid8, $3) AND ${transactionIsOver}
    ORDER BY recorded_in, event_id LIMIT $4) AS event
  ORDER BY recorded_in, event_id LIMIT $4`;

const logOfAggregate = `
  SELECT ${logColumns} FROM collector.event_log
  WHERE aggregate_id = $5 AND type = ANY($1::text[])
    AND (recorded_in, event_id) > ($2::xid8, $3) AND ${transactionIsOver}
  ORDER BY recorded_in, event_id LIMIT $4`;
