/** Which dead letters are meant: a filter, and its condition in SQL. */
import type { DeadLetterStatus } from '../events/redrive';

/** Filter of dead letters; all given conditions must hold. */
export interface DeadLetterFilter {
  readonly status?: DeadLetterStatus | undefined;
  readonly reason?: string | undefined;
  readonly topic?: string | undefined;
  /** As the message names it; empty for those that name none. */
  readonly producer?: string | undefined;
  /** Parked at this time or later. */
  readonly since?: Date | undefined;
  /** Parked before this time. */
  readonly until?: Date | undefined;
}

/** A filter of those that wait for a decision. */
export type ParkedFilter = Omit<DeadLetterFilter, 'status'>;

/** How many parameters {@link matches} has; those of a statement's own follow. */
export const filterParameters = 6;

/** The condition on a row of `collector.dead_letters`, with the values of {@link valuesOf}. */
export const matches = `
  ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR reason = $2)
    AND ($3::text IS NULL OR topic = $3)
    AND ($4::text IS NULL OR producer = nullif($4, '') OR ($4 = '' AND producer IS NULL))
    AND ($5::timestamptz IS NULL OR parked_at >= $5)
    AND ($6::timestamptz IS NULL OR parked_at < $6)`;

/** The first parameters of a statement with {@link matches}. */
export function valuesOf(filter: DeadLetterFilter): (string | Date | null)[] {
  const { status, reason, topic, producer, since, until } = filter;
  return [status, reason, topic, producer, since, until].map((value) => value ?? null);
}
