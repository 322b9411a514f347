/**
 * Backoff during an outage. Each waiting workflow retries on its own; with thousands of them, a fixed
 * interval would make the retries the greatest load of all, just when the machine has to take orders.
 * So the interval grows with their number.
 */
import { createBackoff, withJitter } from '../platform/process/waiting';

/** Options of the backoff. */
export interface OutagePacingOptions {
  /** Retries per second that a process makes in an outage. */
  readonly triesPerSecond?: number;
  /** Shortest retry interval of one workflow, in ms. */
  readonly shortestMs?: number;
  /** Longest retry interval, in ms: how late a workflow may notice the outage's end. */
  readonly longestMs?: number;
  /** The current time, in ms. */
  readonly now?: () => number;
}

/** Counts failures, and returns the backoff after each. */
export interface OutagePacing {
  /** @returns the time until the next retry, in ms */
  refused(): number;
  /**
   * An attempt has succeeded: the outage is over, unless another was refused within the last second. In a
   * partial outage, as of one partition, what does not need it succeeds all the time.
   */
  succeeded(): void;
}

const windowMs = 1_000;

/** A backoff that starts with the shortest interval. */
export function createOutagePacing({
  triesPerSecond = 20,
  shortestMs = 1_000,
  longestMs = 20_000,
  now = Date.now,
}: OutagePacingOptions = {}): OutagePacing {
  const backoff = createBackoff({ firstMs: shortestMs, longestMs });
  let intervalMs = backoff.next();
  let windowStartedAt = 0;
  let refusals = 0;
  let refusedAt = 0;

  const beginWindow = (at: number): void => {
    windowStartedAt = at;
    refusals = 0;
  };

  return {
    refused() {
      const at = now();
      refusedAt = at;
      if (at - windowStartedAt >= windowMs) beginWindow(at);
      refusals += 1;
      if (refusals > triesPerSecond) {
        intervalMs = backoff.next();
        beginWindow(at);
      }
      return withJitter(intervalMs);
    },
    succeeded() {
      if (now() - refusedAt < windowMs) return;
      backoff.reset();
      intervalMs = backoff.next();
      refusals = 0;
    },
  };
}
