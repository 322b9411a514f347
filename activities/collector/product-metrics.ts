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
import type { Redelivery } from './audit-log';
import type { Notification } from './notifications/notification';
import { recallDue, recordDue, type DueNotification } from './notifications/outbox';
import { countRepeats } from './repeats';

/** Which events to apply, for which workflow. */
export interface MetricsUpdate {
  /** IDs of logged events, one for each delivery. */
  readonly eventIds: readonly string[];
  /** The workflow that handles them, to find an event in the Web UI. */
  readonly workflowId: string;
  /**
   * When the run began, in ms since the epoch: it is told what it comes to ({@link Updated}). Workflows of earlier
   * versions leave it out, and read the notifications alone.
   */
  readonly runStartedAt?: number;
  /** Those of the deliveries that stood elsewhere than the logged one. */
  readonly elsewhere?: readonly Redelivery[];
}

/** What an update came to. */
export interface Updated {
  /** The notifications to deliver. */
  readonly due: readonly DueNotification[];
  /** How many of the deliveries changed nothing. */
  readonly repeats: number;
}

export interface MetricsDependencies {
  /**
   * With `customPlans`: a cached plan from when the log was small would scan it whole while it grows.
   */
  readonly pool: Pool;
  /** The notifications that are recorded in the same statement; none by default. */
  readonly notifications?: readonly Notification[];
}

/** Activities of the projections. */
export function createMetricsActivities({ pool, notifications = [] }: MetricsDependencies) {
  const updateStatement = liveUpdate(projections, recordDue(notifications));
  return {
    /**
     * Applies the logged events to every projection and marks them as handled, atomically in one
     * statement. Events already marked are skipped, so a retry, or another workflow with the same
     * events, changes nothing. Effects are read from the audit log, so log and projections cannot
     * disagree. Notifications that the events are due are recorded in the same statement.
     *
     * Deliveries that changed nothing are counted, at least once: after the others have taken effect.
     *
     * @returns the notifications to deliver, also those that are left of events already marked; with how many
     *   deliveries changed nothing, where the workflow asks for that
     * @throws ApplicationFailure `WORKER_TOO_OLD` when a projection was built for a newer version than
     *   this worker's; retryable, for a worker of that version
     */
    async updateMetrics(update: MetricsUpdate): Promise<Updated | readonly DueNotification[]> {
      const { eventIds, workflowId, runStartedAt, elsewhere = [] } = update;
      const { rows } = await refusingBadData(() =>
        pool.query<UpdateRow>({
          name: 'metrics-update',
          text: updateStatement,
          values: [eventIds, workflowId, newestMigration],
        }),
      );
      if (rows.some(({ refused }) => refused)) throw workerTooOld();
      const handled = rows.filter(isHandled);
      count(handled, eventIds.length);
      const isAllNew = handled.length === eventIds.length;
      const due =
        notifications.length > 0 && !isAllNew
          ? // Includes what is recorded.
            await recallDue(pool, eventIds)
          : handled.flatMap(({ eventId, due: names }) => names.map((name) => ({ name, eventId })));
      if (runStartedAt === undefined) return due;
      const given = { eventIds, workflowId, runStartedAt, elsewhere };
      return { due, repeats: isAllNew ? 0 : await countRepeats(pool, given) };
    },
  };
}

/** A row of the statement. */
type UpdateRow =
  | (HandledEvent & { readonly refused: false })
  /** No event was marked, as the database refuses this version or as all are marked already. */
  | { readonly refused: boolean; readonly type: null };

function isHandled(row: UpdateRow): row is HandledEvent & { readonly refused: false } {
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
  readonly eventId: string;
  readonly type: string;
  /** Age of the event; negative when its producer's clock is ahead. */
  readonly seconds: number;
  /** Names of the notifications that it is due. */
  readonly due: readonly string[];
}

function count(handled: readonly HandledEvent[], given: number): void {
  for (const { type, seconds } of handled) {
    eventsHandled.inc({ type });
    eventLatency.observe({ type }, Math.max(seconds, 0));
  }
  duplicatesRefused.inc({ guard: 'event_handled' }, given - handled.length);
}
