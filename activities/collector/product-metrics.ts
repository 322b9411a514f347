/**
 * Product metrics: each event counts once and the newest snapshot wins, in any order and with any
 * duplicates.
 */
import type { Pool } from 'pg';
import {
  duplicatesRefused,
  eventLatency,
  eventsHandled,
} from '../../platform/observability/telemetry';
import { refusingBadData } from '../failures';
import type { Notification } from './notifications/notification';
import { recallDue, recordDue, type DueNotification, type Recording } from './notifications/outbox';

/** Which events to apply, for which workflow. */
export interface MetricsUpdate {
  /** IDs of logged events. */
  readonly eventIds: readonly string[];
  /** The workflow that handles them, to find an event in the Web UI. */
  readonly workflowId: string;
}

export interface MetricsDependencies {
  readonly pool: Pool;
  /** The notifications that are recorded with the metrics; none by default. */
  readonly notifications?: readonly Notification[];
}

/** Activities of the product metrics. */
export function createMetricsActivities({ pool, notifications = [] }: MetricsDependencies) {
  const updateStatement = updateStatementWith(recordDue(notifications));
  return {
    /**
     * Applies the logged events to every metric and marks them as handled, atomically in one statement.
     * Events already marked are skipped, so a retry, or another workflow with the same events, changes
     * nothing. Effects are read from the audit log, so log and metrics cannot disagree. Notifications
     * that the events are due are recorded in the same statement.
     *
     * @returns the notifications to deliver, also those that are left of events already marked
     */
    async updateMetrics({
      eventIds,
      workflowId,
    }: MetricsUpdate): Promise<readonly DueNotification[]> {
      const { rows } = await refusingBadData(() =>
        pool.query<HandledEvent>({
          text: updateStatement,
          values: [eventIds, workflowId],
        }),
      );
      count(rows, eventIds.length);
      const recorded = rows.flatMap(({ eventId, due }) => due.map((name) => ({ name, eventId })));
      if (notifications.length === 0 || rows.length === eventIds.length) return recorded;
      // Includes what is recorded.
      return recallDue(pool, eventIds);
    },
  };
}

/** What keeps a metric right under duplicates and reordering. */
export type MetricGuard =
  /** A sum: the insert into `event_handled` counts each event once, and sums commute. */
  | 'event-id'
  /** A snapshot: written only by an event with a newer version than the stored one. */
  | 'version'
  /** A maximum: commutative and idempotent. */
  | 'maximum';

/** Every metric and its guard. A new metric must choose one. */
export const metricGuards = {
  product_metrics: {
    view_count: 'event-id',
    sales_count: 'event-id',
    like_count: 'version',
    like_version: 'maximum',
    stock: 'version',
    stock_version: 'maximum',
  },
  product_metrics_daily: {
    view_count: 'event-id',
    like_delta: 'event-id',
    sales_count: 'event-id',
  },
  product_user_metrics: {
    view_count: 'event-id',
    purchase_count: 'event-id',
    liked: 'version',
    liked_version: 'maximum',
    last_event_at: 'maximum',
  },
} as const satisfies Record<string, Record<string, MetricGuard>>;

/**
 * The common table expressions that apply the rows of `effect`, which has the columns of the view
 * `event_effects`, to the three tables of metrics. Goes after `WITH effect AS (…)`. Live updates and
 * the rebuild share it, so that they cannot disagree.
 *
 * Rows are always inserted in key order, so that two statements with events or products in common wait
 * for each other instead of deadlocking.
 *
 * @param schema schema of the tables
 */
export function addUpEffects(schema: 'collector' | 'pg_temp'): string {
  return `
  product AS (
    INSERT INTO ${schema}.product_metrics AS metric
      (product_id, view_count, sales_count, like_count, like_version, stock, stock_version)
    SELECT product_id, sum(views), sum(sales),
      coalesce((array_agg(like_count ORDER BY like_version DESC NULLS LAST))[1], 0),
      coalesce(max(like_version), 0),
      (array_agg(stock ORDER BY stock_version DESC NULLS LAST))[1],
      coalesce(max(stock_version), 0)
    FROM effect GROUP BY product_id ORDER BY product_id
    ON CONFLICT (product_id) DO UPDATE SET
      view_count = metric.view_count + excluded.view_count,
      sales_count = metric.sales_count + excluded.sales_count,
      like_count = CASE WHEN excluded.like_version > metric.like_version
        THEN excluded.like_count ELSE metric.like_count END,
      like_version = greatest(metric.like_version, excluded.like_version),
      stock = CASE WHEN excluded.stock_version > metric.stock_version
        THEN excluded.stock ELSE metric.stock END,
      stock_version = greatest(metric.stock_version, excluded.stock_version),
      updated_at = now()
  ),
  daily AS (
    INSERT INTO ${schema}.product_metrics_daily AS metric
      (product_id, day, view_count, like_delta, sales_count)
    SELECT product_id, day, sum(views), sum(likes), sum(sales)
    FROM effect WHERE views <> 0 OR likes <> 0 OR sales <> 0
    GROUP BY product_id, day ORDER BY product_id, day
    ON CONFLICT (product_id, day) DO UPDATE SET
      view_count = metric.view_count + excluded.view_count,
      like_delta = metric.like_delta + excluded.like_delta,
      sales_count = metric.sales_count + excluded.sales_count
  ),
  per_user AS (
    INSERT INTO ${schema}.product_user_metrics AS metric
      (product_id, user_id, view_count, purchase_count, liked, liked_version, last_event_at)
    SELECT product_id, user_id, sum(views), sum(sales),
      coalesce((array_agg(liked ORDER BY like_version DESC NULLS LAST))[1], false),
      coalesce(max(like_version), 0),
      max(occurred_at)
    FROM effect WHERE user_id IS NOT NULL
    GROUP BY product_id, user_id ORDER BY product_id, user_id
    ON CONFLICT (product_id, user_id) DO UPDATE SET
      view_count = metric.view_count + excluded.view_count,
      purchase_count = metric.purchase_count + excluded.purchase_count,
      liked = CASE WHEN excluded.liked_version > metric.liked_version
        THEN excluded.liked ELSE metric.liked END,
      liked_version = greatest(metric.liked_version, excluded.liked_version),
      last_event_at = greatest(metric.last_event_at, excluded.last_event_at)
  )`;
}

interface HandledEvent {
  readonly eventId: string;
  readonly type: string;
  /** Age of the event; negative when its producer's clock is ahead. */
  readonly seconds: number;
  /** Names of the notifications that it is due. */
  readonly due: readonly string[];
}

function count(handled: readonly HandledEvent[], given: number): void {
  for (const { type, seconds } of handled) {
    eventsHandled.inc({ type });
    eventLatency.observe({ type }, Math.max(seconds, 0));
  }
  duplicatesRefused.inc({ guard: 'event_handled' }, given - handled.length);
}

// Every table is read one event at a time (LATERAL … OFFSET 0 prevents other joins): otherwise
// PostgreSQL scans the whole log for a batch until the log is large. Not prepared, so that it is
// planned each time, in a millisecond: a cached plan from when the log was small would scan it whole
// while it grows. The SQL comment identifies the statement in pg_stat_activity and in the fault suite.
const updateStatementWith = (notifying: Recording): string => `
  /* metrics-update */ WITH event AS MATERIALIZED (
    SELECT found.* FROM (SELECT DISTINCT unnest($1::text[]) AS event_id) AS given
    CROSS JOIN LATERAL (
      SELECT event_id, type, occurred_at, payload -> 'data' AS data FROM collector.event_log
      WHERE event_log.event_id = given.event_id OFFSET 0
    ) AS found
  ),
  handled AS (
    INSERT INTO collector.event_handled (event_id, workflow_id)
    SELECT event_id, $2 FROM event ORDER BY event_id
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
  ),
  effect AS MATERIALIZED (
    SELECT found.* FROM handled
    CROSS JOIN LATERAL (
      SELECT * FROM collector.event_effects
      WHERE event_effects.event_id = handled.event_id OFFSET 0
    ) AS found
  ),${addUpEffects('collector')}${notifying.expression}
  SELECT event_id AS "eventId", type, extract(epoch FROM clock_timestamp() - occurred_at)::float8 AS seconds,
    ${notifying.column}
  FROM handled JOIN event USING (event_id)`;
