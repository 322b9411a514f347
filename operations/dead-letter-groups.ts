/** Dead letters in groups: those with the same reason, topic and producer. */
import type { Queryable } from '../platform/postgres/pool';
import { filterParameters, matches, valuesOf, type DeadLetterFilter } from './dead-letter-filter';

/** Dead letters of one cause, as far as that can be told. Times are RFC 3339. */
export interface DeadLetterGroup {
  readonly reason: string;
  readonly topic: string;
  /** As the messages name it; null where they name none. */
  readonly producer: string | null;
  readonly count: number;
  /** When the first and the last of them were parked. */
  readonly firstSeenAt: string;
  readonly lastSeenAt: string;
}

/** The groups of what matches a filter. */
export interface DeadLetterGroups {
  /** Dead letters that match, also those of groups that are left out. */
  readonly count: number;
  /** Groups that there are. */
  readonly groupCount: number;
  /** The largest first, at most {@link maxGroups}. */
  readonly groups: readonly DeadLetterGroup[];
}

/** Most groups that are returned: producers are named by messages, so there may be any number. */
export const maxGroups = 100;

/** The groups of the dead letters that match. */
export async function readGroups(
  database: Queryable,
  filter: DeadLetterFilter,
): Promise<DeadLetterGroups> {
  const { rows } = await database.query<GroupRow>({
    text: `
      SELECT reason, topic, producer, count(*) AS count, min(parked_at) AS first, max(parked_at) AS last,
        sum(count(*)) OVER ()::bigint AS total, count(*) OVER () AS groups
      FROM collector.dead_letters WHERE ${matches}
      GROUP BY reason, topic, producer
      ORDER BY count DESC, last DESC, reason, topic, producer LIMIT $${filterParameters + 1}`,
    values: [...valuesOf(filter), maxGroups],
  });
  return {
    count: rows[0]?.total ?? 0,
    groupCount: rows[0]?.groups ?? 0,
    groups: rows.map(({ reason, topic, producer, count, first, last }) => ({
      reason,
      topic,
      producer,
      count,
      firstSeenAt: first.toISOString(),
      lastSeenAt: last.toISOString(),
    })),
  };
}

interface GroupRow {
  readonly reason: string;
  readonly topic: string;
  readonly producer: string | null;
  readonly count: number;
  readonly first: Date;
  readonly last: Date;
  readonly total: number;
  readonly groups: number;
}
