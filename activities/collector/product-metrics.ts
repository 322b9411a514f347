/**
 * The projections in PostgreSQL: each event counts once and the newest snapshot wins, in any order and
 * with any duplicates.
 */
import { ApplicationFailure } from '@temporalio/common';
import type { Pool } from 'pg';
import {
  duplicatesRefused,
  eventLatency,
  eventsHandled,
} from '../../platform/observability/telemetry';
import { projections } from '../../projections';
import { newestMigration } from '../../projections/definition';
import { liveUpdate } from '../../projections/statements';
import { refusingBadData } from '../failures';

/** Which events to apply, for which workflow. */
export interface MetricsUpdate {
  /** IDs of logged events. */
  readonly eventIds: readonly string[];
  /** The workflow that handles them, to find an event in the Web UI. */
  readonly workflowId: string;
}

/** Activities of the projections. */
export function createMetricsActivities({ pool }: { readonly pool: Pool }) {
  return {
    /**
     * Applies the logged events to every projection and marks them as handled, atomically in one
     * statement. Events already marked are skipped, so a retry, or another workflow with the same
     * events, changes nothing. Effects are read from the audit log, so log and projections cannot
     * disagree.
     *
     * @throws ApplicationFailure `WORKER_TOO_OLD` when a projection was built for a newer version than
     *   this worker's; retryable, for a worker of that version
     */
    async updateMetrics({ eventIds, workflowId }: MetricsUpdate): Promise<void> {
      const { rows } = await refusingBadData(() =>
        pool.query<UpdateRow>({
          text: updateStatement,
          values: [eventIds, workflowId, newestMigration],
        }),
      );
      if (rows.some(({ refused }) => refused)) throw workerTooOld();
      const handled = rows.filter(isHandled);
      count(handled, eventIds.length);
    },
  };
}

/** A row of the statement; without a type where no event was marked. */
interface UpdateRow {
  readonly refused: boolean;
  readonly type: string | null;
  readonly seconds: number | null;
}

function isHandled(row: UpdateRow): row is UpdateRow & HandledEvent {
  return row.type !== null;
}

function workerTooOld(): ApplicationFailure {
  return ApplicationFailure.retryable(
    `A projection was built for a newer version than this worker's (migration ${newestMigration}): ` +
      'stop this worker; one of the newer version handles the event.',
    'WORKER_TOO_OLD',
  );
}

interface HandledEvent {
  readonly type: string;
  /** Age of the event; negative when its producer's clock is ahead. */
  readonly seconds: number;
}

function count(handled: readonly HandledEvent[], given: number): void {
  for (const { type, seconds } of handled) {
    eventsHandled.inc({ type });
    eventLatency.observe({ type }, Math.max(seconds, 0));
  }
  duplicatesRefused.inc({ guard: 'event_handled' }, given - handled.length);
}

// Not prepared, so that it is planned each time, in a millisecond: a cached plan from when the log was
// small would scan it whole while it grows.
const updateStatement = liveUpdate(projections);
