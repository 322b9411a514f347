/** What the database knows of work that is done: the only thing that the bridge reads there. */
import type { Coordinates } from '../events/received';
import type { Queryable } from '../platform/postgres/pool';

/** Looks up what is done. */
export interface FinishedWork {
  /** Those of the IDs whose event is handled, or whose workflow has parked its message. */
  findDone(ids: readonly string[]): Promise<string[]>;
  /**
   * Where the logged copy stood of those of the events that are handled, by event ID. Not of those
   * that are parked: they may have been redriven.
   */
  findHandled(eventIds: readonly string[]): Promise<ReadonlyMap<string, Coordinates>>;
}

/**
 * Finished work as PostgreSQL has it. The statements have no name, so that each is planned anew: a
 * plan that was made while the tables were small would be kept while they grow, and reads all of them.
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
