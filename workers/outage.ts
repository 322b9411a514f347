/**
 * What a worker does while a server that its activities call is away, so that what does not need the
 * server goes on, and however many wait, the retries per second stay the same.
 */
import { ApplicationFailure } from '@temporalio/common';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { withLinkedSignal } from '../platform/process/abort';
import { pause } from '../platform/process/waiting';

/** Whether an error means that the server is away, rather than that it refused this one attempt. */
export type IsOutage = (error: unknown) => boolean;

/** What the attempts of one process know of a server. */
export interface Outage {
  /** Whether the last attempts have failed, and not long ago. */
  isOngoing(): boolean;
  /** Runs an attempt, and notes how it ends. */
  attempt<T>(work: () => Promise<T>): Promise<T>;
  /** Resolves once an attempt has succeeded, after `ms`, or when `signal` is aborted. */
  untilOver(ms: number, signal: AbortSignal): Promise<void>;
}

// One that fails alone may be at fault itself.
const failuresOfOutage = 3;

// After this long without an attempt nothing is known.
const knownForMs = 2_000;

/** Nothing is known at first. */
export function createOutage(isOutage: IsOutage, now: () => number = Date.now): Outage {
  let failures = 0;
  let failedAt = 0;
  let over = new AbortController();

  const end = (): void => {
    failures = 0;
    over.abort();
    over = new AbortController();
  };

  return {
    isOngoing: () => failures >= failuresOfOutage && now() - failedAt < knownForMs,
    async attempt(work) {
      try {
        const result = await work();
        if (failures > 0) end();
        return result;
      } catch (error) {
        if (isOutage(error)) {
          failures += 1;
          failedAt = now();
        }
        throw error;
      }
    },
    untilOver: (ms, signal) =>
      withLinkedSignal(over.signal, (either) =>
        withLinkedSignal(signal, async (cancelled) => {
          cancelled.signal.addEventListener('abort', () => either.abort(), { once: true });
          await pause(ms, either.signal);
        }),
      ),
  };
}

/**
 * Fails local attempts of these activities at once during an outage. The workflow then takes the ordinary
 * activity; an attempt that waits for the server would keep a workflow task from others, and there are
 * few.
 */
export function sparingWorkflowTasks(
  outage: Outage,
  activities: readonly string[],
): ActivityInterceptorsFactory {
  return ({ info: { isLocal, activityType } }) => {
    if (!activities.includes(activityType)) return {};
    return {
      inbound: {
        async execute(input, next) {
          if (isLocal && outage.isOngoing()) throw knownToBeAway(activityType);
          return outage.attempt(() => next(input));
        },
      },
    };
  };
}

function knownToBeAway(activityType: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(
    `Not tried within the workflow task: the last attempts of ${activityType} have failed.`,
    'KNOWN_TO_BE_AWAY',
  );
}

/** How an attempt keeps its slot. */
export interface Patience {
  /** For how long, in ms; the activity's timeout allows for a last try on top of it. */
  readonly patienceMs?: number;
  /** Between two tries, in ms. */
  readonly pauseMs?: number;
}

/**
 * Lets an attempt that meets an outage keep its slot and try again, instead of coming back through
 * Temporal. All others wait in the task queue meanwhile, which costs nothing: the retries that Temporal
 * sees come to the slots over the patience, whether ten wait or ten thousand. When one succeeds, all go on
 * at once. One that fails while others succeed gives its slot up.
 */
export function keepingSlots(
  outage: Outage,
  { patienceMs = 10_000, pauseMs = 1_000 }: Patience = {},
): ActivityInterceptorsFactory {
  return ({ cancellationSignal }) => ({
    inbound: {
      async execute(input, next) {
        const deadline = Date.now() + patienceMs;
        for (;;) {
          try {
            return await outage.attempt(() => next(input));
          } catch (error) {
            const isInTime = Date.now() + pauseMs < deadline;
            if (!outage.isOngoing() || !isInTime || cancellationSignal.aborted) throw error;
          }
          await outage.untilOver(pauseMs, cancellationSignal);
        }
      },
    },
  });
}

/** Every failure but one that a retry cannot mend. */
export function isRetryable(error: unknown): boolean {
  return !(error instanceof ApplicationFailure && error.nonRetryable === true);
}
