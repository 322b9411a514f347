/** Finished work, from PostgreSQL. */
import type { Coordinates } from '../events/received';
import type { Queryable } from '../platform/postgres/pool';

/** Looks up finished work. */
export interface FinishedWork {
  /** The IDs whose event is handled or whose message is parked. */
  findDone(ids: readonly string[]): Promise<string[]>;
  /**
   * The logged copy's coordinates of the handled events, by event ID. Not of parked ones: they may have
   * been redriven.
   */
  findHandled(eventIds: readonly string[]): Promise<ReadonlyMap<string, Coordinates>>;
}

/**
 * Finished work in PostgreSQL. The statements are not prepared, so that each is planned again: a cached
 * plan from when the tables were small would scan them whole.
 */
export function createFinishedWork(database: Queryable): FinishedWork {
  return {
    async findDone(ids) {
      const { rows } = await database.query<{ id: string }>({
        text: `
          SELECT event_id AS id FROM collector.event_handled WHERE event_id = ANY($1)
          UNION ALL
          SELECT workflow_id FROM collector.dead_letters WHERE workflow_id = ANY($1)
          UNION ALL
          SELECT event_id FROM collector.dead_letters WHERE event_id = ANY($1)`,
        values: [ids],
      });
      return rows.map(({ id }) => id);
    },

    async findHandled(eventIds) {
      const { rows } = await database.query<Coordinates & { id: string }>({
        text: `
          SELECT event_id AS id, log.topic, log.partition, log."offset"
          FROM collector.event_handled JOIN collector.event_log AS log USING (event_id)
          WHERE event_id = ANY($1)`,
        values: [eventIds],
      });
      return new Map(rows.map(({ id, ...coordinates }) => [id, coordinates]));
    },
  };
}
