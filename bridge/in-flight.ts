/**
 * Backpressure: a limit of the workflows in flight. A slot is released once its event is handled or its
 * message parked, which PostgreSQL knows without a query to Temporal.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../platform/observability/logger';
import { bridgeInFlight, bridgeSlots } from '../platform/observability/telemetry';
import type { FinishedWork } from './finished-work';
import { createPause } from './pause';

/** Options of the limit. */
export interface InFlightOptions {
  /** Most workflows in flight. */
  readonly limit: number;
  /** Poll interval for finished workflows while all slots are taken, in ms. */
  readonly pollMs?: number;
  /** Poll interval while slots are free, in ms: only for the metrics. */
  readonly idlePollMs?: number;
  /** Timeout of a slot, in ms: its workflow may have been terminated, and would never release it. */
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
  /** Polls for finished workflows; concurrent calls share one poll. */
  refresh(): Promise<void>;
  /** Takes a slot; waits while none is free. @throws when aborted */
  take(doneBy: string, signal: AbortSignal): Promise<void>;
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
  finishedWork: FinishedWork,
  logger: Logger,
  { limit, pollMs = 50, idlePollMs = 5_000, abandonAfterMs = 600_000 }: InFlightOptions,
): InFlight {
  const slots = new Map<string, Slot>();
  const pause = createPause('no-slot');
  let refreshing: Promise<void> | undefined;
  let refreshedAt = 0;
  let pollingLater = false;

  bridgeSlots.set(limit);
  const showCount = (): void => bridgeInFlight.set(slots.size);

  const refresh = async (): Promise<void> => {
    await sleep(Math.max(refreshedAt + pollMs - Date.now(), 0));
    try {
      for (const id of await finishedWork.findDone([...slots.keys()])) slots.delete(id);
    } catch (error) {
      logger.warn({ err: error }, 'cannot read which workflows have finished; waiting');
    }
    refreshedAt = Date.now();
    abandonOldest();
    showCount();
  };

  const abandonOldest = (): void => {
    const oldest = Date.now() - abandonAfterMs;
    for (const [workflowId, { since }] of slots) {
      if (since > oldest) continue;
      slots.delete(workflowId);
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

  const tryTakeAll = (doneBy: readonly string[]): boolean => {
    const fresh = new Set(doneBy.filter((id) => !slots.has(id)));
    if (slots.size + fresh.size > limit) return false;
    for (const id of doneBy) {
      slots.set(id, { since: Date.now(), holders: (slots.get(id)?.holders ?? 0) + 1 });
    }
    showCount();
    pollLater();
    return true;
  };

  return {
    limit,
    tryTakeAll,
    refresh: startRefreshing,
    async take(doneBy, signal) {
      if (tryTakeAll([doneBy])) return;
      await pause.during(async () => {
        do {
          signal.throwIfAborted();
          await startRefreshing();
        } while (!tryTakeAll([doneBy]));
      });
    },
    release(doneBy) {
      const slot = slots.get(doneBy);
      if (slot === undefined) return;
      if (slot.holders === 1) slots.delete(doneBy);
      else slots.set(doneBy, { ...slot, holders: slot.holders - 1 });
      showCount();
    },
    count: () => slots.size,
  };
}
