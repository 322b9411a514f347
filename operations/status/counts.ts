/** Counts what waits, and reads the bridges' heartbeats, what operators hold and what was verified, in one statement. */
import type { Queryable } from '../../platform/postgres/pool';
import { consumptionColumns, type Consumption } from '../consumption';
import type { BridgeState, Counts, Verification, Waiting } from './measurements';

/** Counts now. @throws when PostgreSQL is unavailable */
export async function readCounts(database: Queryable): Promise<Counts> {
  const { rows } = await database.query<CountsRow>({
    name: 'status-counts',
    text: countsStatement,
    values: [heartbeatWithinSeconds, countedAtMost],
  });
  const { outbox, orders, deadLetters, bridges, holds, limit, topicLimits, verification } =
    rows[0]!;
  return {
    outbox: toWaiting(outbox),
    orders: toWaiting(orders),
    deadLetters: toWaiting(deadLetters),
    bridges: bridges.map(({ lagGrowsSince, ...bridge }) => ({
      ...bridge,
      lagGrowsSince: lagGrowsSince === null ? null : new Date(lagGrowsSince),
    })),
    consumption: { holds, limit, topicLimits },
    verification:
      verification === null
        ? null
        : { ...verification, finishedAt: new Date(verification.finishedAt) },
  };
}

/** A bridge that has not been seen for so long is not running. It says so every two seconds. */
const heartbeatWithinSeconds = 10;

/** More than so many are not counted: somebody asks every second, and may do so in the middle of an outage. */
export const countedAtMost = 10_000;

/** As JSON has it. */
interface CountedRow {
  readonly count: number;
  readonly oldest: string | null;
  readonly more: boolean;
}

interface CountsRow extends Consumption {
  readonly outbox: CountedRow;
  readonly orders: CountedRow;
  readonly deadLetters: CountedRow;
  readonly bridges: readonly (Omit<BridgeState, 'lagGrowsSince'> & {
    readonly lagGrowsSince: string | null;
  })[];
  readonly verification:
    (Omit<Verification, 'finishedAt'> & { readonly finishedAt: string }) | null;
}

function toWaiting({ count, oldest, more }: CountedRow): Waiting {
  return { count, more, oldestAt: oldest === null ? null : new Date(oldest) };
}

// From the oldest on, in the order of an index that has nothing but what waits.
const counted = (time: string, from: string, order: string): string => `
  (SELECT json_build_object(
      'count', least(count(*), $2::integer), 'oldest', min(${time}), 'more', count(*) > $2::integer)
    FROM (SELECT ${time} FROM ${from} ORDER BY ${order} LIMIT $2::integer + 1) AS waiting)`;

/** Exported for the test of its plan. */
export const countsStatement = `
  SELECT
    ${counted('created_at', 'commerce.outbox WHERE published_at IS NULL', 'sequence')} AS outbox,
    ${counted('created_at', "commerce.orders WHERE status = 'PLACED'", 'created_at')} AS orders,
    ${counted('parked_at', "collector.dead_letters WHERE status = 'parked'", 'id')} AS "deadLetters",
    (SELECT coalesce(json_agg(json_build_object('id', bridge_id, 'mode', mode,
        'inFlight', in_flight, 'slots', slots, 'pausedBy', paused_by,
        'lagGrowsSince', lag_grows_since) ORDER BY bridge_id), '[]')
      FROM collector.bridges
      WHERE seen_at > now() - make_interval(secs => $1)) AS bridges,
    (SELECT json_build_object('outcome', outcome, 'finishedAt', finished_at, 'by', requested_by,
        'violated', (SELECT coalesce(json_agg(run_check -> 'name'), '[]')
          FROM jsonb_array_elements(checks) AS run_check WHERE run_check -> 'holds' = 'false'))
      FROM collector.verifications
      WHERE outcome IN ('holds', 'differs')
      ORDER BY finished_at DESC, id DESC LIMIT 1) AS verification,
    ${consumptionColumns}`;
