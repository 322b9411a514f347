/**
 * Counts the messages that the bridge leaves out, since their events are handled, or are in the same batch already.
 * Those that a workflow finds to be repeats are counted there. Nothing rests on it.
 */
import type { Coordinates } from '../events/received';
import type { Logger } from '../platform/observability/logger';
import type { Queryable } from '../platform/postgres/pool';

/** A message of an event that was delivered before. */
interface Repeat extends Coordinates {
  readonly eventId: string;
}

/** Counts repeats. */
export interface RepeatCounter {
  /** Counts each of them, in one statement; none if PostgreSQL is unavailable. Never throws. */
  count(repeats: readonly Repeat[]): Promise<void>;
}

/** Counts in `collector.event_repeats`. */
export function createRepeatCounter(database: Queryable, logger: Logger): RepeatCounter {
  return {
    async count(repeats) {
      if (repeats.length === 0) return;
      try {
        await database.query({
          name: 'repeats-count',
          text: 'SELECT collector.count_repeats($1, $2, $3, $4)',
          values: [
            repeats.map(({ eventId }) => eventId),
            repeats.map(({ topic }) => topic),
            repeats.map(({ partition }) => partition),
            repeats.map(({ offset }) => offset),
          ],
        });
      } catch (error) {
        logger.warn({ err: error, repeats: repeats.length }, 'cannot count repeats; going on');
      }
    },
  };
}
