/**
 * The bound on workflows that were started and have not finished. A slot is free again once its
 * event is handled or its message parked; PostgreSQL knows, so nothing has to be asked of Temporal.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../platform/logger';
import type { Queryable } from '../platform/postgres';

/** Options of the bound. */
export interface InFlightOptions {
  /** Most workflows that are started and not finished. */
  readonly limit: number;
  /** How often to look for finished ones while all slots are taken, in ms. */
  readonly pollMs?: number;
  /**
   * After how many ms a slot is given up, because its workflow was ended from outside and will
   * never finish what it was for.
   */
  readonly abandonAfterMs?: number;
}

/** Slots for workflows under way. */
export interface InFlight {
  /** Takes a slot for a workflow; waits while none is free. @throws when aborted */
  take(workflowId: string, signal: AbortSignal): Promise<void>;
  /** Gives a slot back that turned out not to be needed. */
  release(workflowId: string): void;
  /** How many slots are taken, as far as is known. */
  count(): number;
}

/** Slots that are freed by looking into the database. */
export function createInFlight(
  database: Queryable,
  logger: Logger,
  { limit, pollMs = 50, abandonAfterMs = 600_000 }: InFlightOptions,
): InFlight {
  const takenAt = new Map<string, number>();
  let refreshing: Promise<void> | undefined;

  const refresh = async (): Promise<void> => {
    try {
      for (const id of await findFinished(database, [...takenAt.keys()])) takenAt.delete(id);
    } catch (error) {
      logger.warn({ err: error }, 'cannot see which workflows have finished; waiting');
    }
    const oldest = Date.now() - abandonAfterMs;
    for (const [workflowId, since] of takenAt) {
      if (since > oldest) continue;
      takenAt.delete(workflowId);
      logger.warn({ workflowId }, 'a workflow has not finished for long; its slot is given up');
    }
    if (takenAt.size >= limit) await sleep(pollMs);
  };

  return {
    async take(workflowId, signal) {
      while (takenAt.size >= limit && !takenAt.has(workflowId)) {
        signal.throwIfAborted();
        refreshing ??= refresh().finally(() => {
          refreshing = undefined;
        });
        await refreshing;
      }
      takenAt.set(workflowId, Date.now());
    },
    release(workflowId) {
      takenAt.delete(workflowId);
    },
    count: () => takenAt.size,
  };
}

async function findFinished(database: Queryable, workflowIds: string[]): Promise<string[]> {
  const { rows } = await database.query<{ id: string }>({
    name: 'in-flight-finished',
    text: `
      SELECT event_id AS id FROM collector.event_handled WHERE event_id = ANY($1)
      UNION ALL
      SELECT workflow_id FROM collector.dead_letters WHERE workflow_id = ANY($1)`,
    values: [workflowIds],
  });
  return rows.map(({ id }) => id);
}
