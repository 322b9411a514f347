/**
 * Backpressure: a limit of the workflows in flight. A slot is released once its event is handled or its
 * message parked, which PostgreSQL knows without a query to Temporal.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../platform/observability/logger';
import { bridgeInFlight, bridgeSlots } from '../platform/observability/telemetry';
import { createBackoff } from '../platform/process/waiting';
import type { FinishedWork } from './finished-work';
import type { OverdueWork } from './overdue-work';
import type { WorkflowPlan } from './workflow-plan';

export interface InFlightDependencies {
  readonly finishedWork: Pick<FinishedWork, 'findDone'>;
  /** Who looks after work that takes long; nobody unless set. */
  readonly overdueWork?: OverdueWork;
  readonly logger: Logger;
}

/** Options of the limit. */
export interface InFlightOptions {
  /** Most workflows in flight. */
  readonly limit: number;
  /** Poll interval for finished workflows while something waits for a slot, in ms. */
  readonly pollMs?: number;
  /** Poll interval while slots are free, in ms: only for the metrics. */
  readonly idlePollMs?: number;
  /** Timeout of a slot, in ms: somebody may have terminated its workflow, which then never releases it. */
  readonly abandonAfterMs?: number;
}

/** Slots of workflows in flight, each identified by its `WorkflowPlan.doneBy`. */
export interface InFlight {
  /** Number of slots. */
  readonly limit: number;
  /**
   * Takes a slot for each if enough are known to be free; otherwise none.
   *
   * @param doneBy duplicates share a slot
   */
  tryTakeAll(doneBy: readonly string[]): boolean;
  /**
   * Polls for finished workflows: at once, or `pollMs` after the last poll. Concurrent calls share one
   * poll. While the database is unavailable, polls with backoff. Never throws.
   */
  refresh(): Promise<void>;
  /** Temporal has acknowledged the workflow for which a slot was taken: its work is looked after. */
  started(plan: WorkflowPlan): void;
  /** Gives a slot that is taken another ID; with one that has a slot already, it is shared. */
  rename(doneBy: string, now: string): void;
  /** Releases a slot that is not needed after all; whoever shares it keeps it. */
  release(doneBy: string): void;
  /** How many slots are known to be taken. */
  count(): number;
}

interface Slot {
  /** When it was last taken, in ms since the epoch. */
  readonly since: number;
  /** How many share it: duplicates of the same event. */
  readonly holders: number;
}

/** Slots that are released by polling the database. */
export function createInFlight(
  { finishedWork, overdueWork, logger }: InFlightDependencies,
  { limit, pollMs = 10, idlePollMs = 5_000, abandonAfterMs = 600_000 }: InFlightOptions,
): InFlight {
  const slots = new Map<string, Slot>();
  let refreshing: Promise<void> | undefined;
  const backoff = createBackoff({ firstMs: pollMs, longestMs: 1_000 });
  let waitMs = pollMs;
  let refreshedAt = 0;
  let pollingLater = false;

  bridgeSlots.set(limit);
  const showCount = (): void => bridgeInFlight.set(slots.size);

  const free = (doneBy: string): void => {
    slots.delete(doneBy);
    overdueWork?.forget(doneBy);
  };

  const refresh = async (): Promise<void> => {
    await sleep(Math.max(refreshedAt + waitMs - Date.now(), 0));
    try {
      for (const id of await finishedWork.findDone([...slots.keys()])) free(id);
      void overdueWork?.look();
      backoff.reset();
      waitMs = pollMs;
    } catch (error) {
      waitMs = backoff.next();
      logger.warn(
        { err: error, retryInMs: waitMs },
        'cannot read which workflows have finished; retrying with backoff',
      );
    }
    refreshedAt = Date.now();
    abandonOldest();
    showCount();
  };

  const abandonOldest = (): void => {
    const oldest = Date.now() - abandonAfterMs;
    for (const [workflowId, { since }] of slots) {
      if (since > oldest) continue;
      free(workflowId);
      logger.warn({ workflowId }, 'workflow has not finished in time; releasing its slot');
    }
  };

  // Otherwise the gauge would keep the count of the last message forever.
  const pollLater = (): void => {
    if (pollingLater || slots.size === 0) return;
    pollingLater = true;
    const poll = async (): Promise<void> => {
      await startRefreshing();
      pollingLater = false;
      pollLater();
    };
    setTimeout(() => void poll(), idlePollMs).unref();
  };

  const startRefreshing = (): Promise<void> => {
    refreshing ??= refresh().finally(() => {
      refreshing = undefined;
    });
    return refreshing;
  };

  const hold = (doneBy: string): void => {
    slots.set(doneBy, { since: Date.now(), holders: (slots.get(doneBy)?.holders ?? 0) + 1 });
    showCount();
    pollLater();
  };

  const release = (doneBy: string): void => {
    const slot = slots.get(doneBy);
    if (slot === undefined) return;
    if (slot.holders === 1) free(doneBy);
    else slots.set(doneBy, { ...slot, holders: slot.holders - 1 });
    showCount();
  };

  const tryTakeAll = (doneBy: readonly string[]): boolean => {
    const fresh = new Set(doneBy.filter((id) => !slots.has(id)));
    if (slots.size + fresh.size > limit) return false;
    doneBy.forEach(hold);
    return true;
  };

  return {
    limit,
    tryTakeAll,
    refresh: startRefreshing,
    started(plan) {
      // It may have been seen as done before its start was acknowledged.
      if (slots.has(plan.doneBy)) overdueWork?.watch(plan);
    },
    rename(doneBy, now) {
      if (doneBy === now) return;
      release(doneBy);
      hold(now);
    },
    release,
    count: () => slots.size,
  };
}
