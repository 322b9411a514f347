/**
 * How soon to try again what an outage refuses. Each waiting workflow tries for itself; with thousands
 * of them, a fixed interval would make the tries the greatest load of all, just when the machine has
 * to take orders. So the interval grows with their number.
 */

/** Options of the pacing. */
export interface OutagePacingOptions {
  /** Tries per second that an outage may cost a process. */
  readonly triesPerSecond?: number;
  /** Shortest interval between two tries of one workflow, in ms. */
  readonly shortestMs?: number;
  /** Longest interval, in ms: so much later than necessary a workflow may notice the outage's end. */
  readonly longestMs?: number;
  /** The present, in ms. */
  readonly now?: () => number;
}

/** Counts refusals, and answers after each when to try again. */
export interface OutagePacing {
  /** @returns the time until the next try, in ms */
  refused(): number;
  /** The outage is over. */
  ended(): void;
}

const windowMs = 1_000;

/** A pacing that begins with the shortest interval. */
export function createOutagePacing({
  triesPerSecond = 20,
  shortestMs = 1_000,
  longestMs = 20_000,
  now = Date.now,
}: OutagePacingOptions = {}): OutagePacing {
  let intervalMs = shortestMs;
  let windowStartedAt = 0;
  let refusals = 0;

  const beginWindow = (at: number): void => {
    windowStartedAt = at;
    refusals = 0;
  };

  return {
    refused() {
      const at = now();
      if (at - windowStartedAt >= windowMs) beginWindow(at);
      refusals += 1;
      if (refusals > triesPerSecond) {
        intervalMs = Math.min(intervalMs * 2, longestMs);
        beginWindow(at);
      }
      // Spread, or what was refused together would come back together.
      return Math.round(intervalMs * (0.5 + Math.random() / 2));
    },
    ended() {
      intervalMs = shortestMs;
      refusals = 0;
    },
  };
}
