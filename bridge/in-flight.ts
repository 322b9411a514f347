/**
 * The bound on workflows that were started and have not finished. A slot is free again once its
 * event is handled or its message parked; PostgreSQL knows, so nothing has to be asked of Temporal.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../platform/observability/logger';
import { bridgeInFlight, bridgeSlots } from '../platform/observability/telemetry';
import type { FinishedWork } from './finished-work';
import { createPause } from './pause';

/** Options of the bound. */
export interface InFlightOptions {
  /** Most workflows that are started and not finished. */
  readonly limit: number;
  /** How often to look for finished ones while all slots are taken, in ms. */
  readonly pollMs?: number;
  /** How often to look for finished ones while slots are free, in ms: only for what is shown. */
  readonly idleLookMs?: number;
  /**
   * After how many ms a slot is given up, because its workflow was ended from outside and will
   * never finish what it was for.
   */
  readonly abandonAfterMs?: number;
}

/** Slots for workflows under way, each known by what it will be done by: see `WorkflowPlan`. */
export interface InFlight {
  /** Most slots. */
  readonly limit: number;
  /**
   * Takes a slot for each if so many are free, as far as is known; otherwise none.
   *
   * @param doneBy what repeats shares a slot
   */
  tryTakeAll(doneBy: readonly string[]): boolean;
  /** Looks which workflows have finished; often asked, it looks once a moment for all. */
  refresh(): Promise<void>;
  /** Takes a slot; waits while none is free. @throws when aborted */
  take(doneBy: string, signal: AbortSignal): Promise<void>;
  /** Gives a slot back that turned out not to be needed; whoever shares it keeps it. */
  release(doneBy: string): void;
  /** How many slots are taken, as far as is known. */
  count(): number;
}

interface Slot {
  /** When it was last taken, in ms since the epoch. */
  readonly since: number;
  /** How many wait for the same event: its repeats share its slot. */
  readonly holders: number;
}

/** Slots that are freed by looking into the database. */
export function createInFlight(
  finishedWork: FinishedWork,
  logger: Logger,
  { limit, pollMs = 50, idleLookMs = 5_000, abandonAfterMs = 600_000 }: InFlightOptions,
): InFlight {
  const slots = new Map<string, Slot>();
  const pause = createPause('no-slot');
  let refreshing: Promise<void> | undefined;
  let refreshedAt = 0;
  let lookingLater = false;

  bridgeSlots.set(limit);
  const showCount = (): void => bridgeInFlight.set(slots.size);

  const refresh = async (): Promise<void> => {
    await sleep(Math.max(refreshedAt + pollMs - Date.now(), 0));
    try {
      for (const id of await finishedWork.findDone([...slots.keys()])) slots.delete(id);
    } catch (error) {
      logger.warn({ err: error }, 'cannot see which workflows have finished; waiting');
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
      logger.warn({ workflowId }, 'a workflow has not finished for long; its slot is given up');
    }
  };

  // Without this, whatever was under way when the last message came would be shown for ever.
  const lookLater = (): void => {
    if (lookingLater || slots.size === 0) return;
    lookingLater = true;
    const look = async (): Promise<void> => {
      await startRefreshing();
      lookingLater = false;
      lookLater();
    };
    setTimeout(() => void look(), idleLookMs).unref();
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
    lookLater();
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
