/** How many events the collector has handled, and how fast. */
import type { Database } from '../http/database';

/** What was handled in an interval. */
interface HandledRate {
  /** Start of the interval. */
  readonly at: Date;
  readonly events: number;
  /** Latency from the time of the event until it was handled, in ms; sampled under load. */
  readonly medianMs: number | null;
  readonly p95Ms: number | null;
}

/** Reads rates. Each call throws DatabaseUnavailableError when PostgreSQL is unavailable. */
export interface HandlingRateReads {
  /** How many events were handled, and how fast, in intervals up to now; oldest first. */
  list(stretch: { readonly seconds: number; readonly count: number }): Promise<HandledRate[]>;
}

/** Reads from `collector.event_handled` and `collector.event_log`. */
export function createHandlingRateReads(database: Database): HandlingRateReads {
  return {
    list: ({ seconds, count }) =>
      database.query<HandledRate>({
        name: 'handled-rates',
        text: ratesStatement,
        values: [seconds, count, sampledEvents],
      }),
  };
}

// Latencies need a join with the log: beyond this many events they are estimated from a sample.
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
