/** Deliveries that changed nothing, counted in `collector.event_repeats`: for people, no effect of an event rests on it. */
import type { Queryable } from '../../platform/postgres/pool';
import type { Redelivery } from './audit-log';

/** What a run of a workflow was given. */
export interface GivenEvents {
  /** IDs of logged and handled events, one for each delivery. */
  readonly eventIds: readonly string[];
  readonly workflowId: string;
  /** When the run began, in ms since the epoch. */
  readonly runStartedAt: number;
  /** Those of the deliveries that stood elsewhere than the logged one. */
  readonly elsewhere: readonly Redelivery[];
}

/**
 * Counts those deliveries that changed nothing: all but the one, if any, by which this run has handled the event.
 * A retry of it finds what it has handled, and counts the same.
 *
 * @returns how many; a retry has them added again
 */
export async function countRepeats(
  database: Queryable,
  { eventIds, workflowId, runStartedAt, elsewhere }: GivenEvents,
): Promise<number> {
  const { rows } = await database.query<{ repeats: number }>({
    // Not prepared, so that it is planned again while the tables grow.
    text: countStatement,
    values: [
      eventIds,
      workflowId,
      runStartedAt,
      elsewhere.map(({ eventId }) => eventId),
      elsewhere.map(({ topic }) => topic),
      elsewhere.map(({ partition }) => partition),
      elsewhere.map(({ offset }) => offset),
    ],
  });
  return rows[0]!.repeats;
}

// An event may be handled under this very ID by an earlier run, which Temporal has forgotten: that was before this
// one began, as long as the clocks of the two servers differ by less than ten seconds.
const countStatement = `
  /* event-repeats */ WITH elsewhere AS (
    SELECT event_id, topic, partition, "offset"
    FROM unnest($4::text[], $5::text[], $6::int[], $7::bigint[])
      AS given (event_id, topic, partition, "offset")
  ),
  in_place AS (
    SELECT event_id FROM unnest($1::text[]) AS given (event_id)
    EXCEPT ALL SELECT event_id FROM elsewhere
  ),
  delivery AS (
    SELECT event_id, topic, partition, "offset", false AS is_elsewhere FROM in_place
    CROSS JOIN LATERAL (
      SELECT topic, partition, "offset" FROM collector.event_log
      WHERE event_log.event_id = in_place.event_id OFFSET 0
    ) AS logged
    UNION ALL
    SELECT event_id, topic, partition, "offset", true FROM elsewhere
  ),
  repeat AS (
    SELECT event_id, topic, partition, "offset" FROM (
      SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY is_elsewhere, "offset") AS turn
      FROM delivery
    ) AS in_turn
    CROSS JOIN LATERAL (
      SELECT workflow_id = $2
        AND handled_at > to_timestamp($3::float8 / 1000) - interval '10 seconds' AS by_this_run
      FROM collector.event_handled WHERE event_handled.event_id = in_turn.event_id OFFSET 0
    ) AS handled
    WHERE turn > 1 OR NOT by_this_run
  ),
  counted AS (
    SELECT count(*)::integer AS repeats, array_agg(event_id) AS event_ids, array_agg(topic) AS topics,
      array_agg(partition) AS partitions, array_agg("offset") AS offsets
    FROM (SELECT * FROM repeat ORDER BY event_id, "offset") AS in_order
  )
  SELECT repeats, CASE WHEN repeats > 0
    THEN collector.count_repeats(event_ids, topics, partitions, offsets) END FROM counted`;
