/** Backoff before a crashed process is restarted. */

/** Exponential backoff. */
export interface Backoff {
  /** The next delay in ms: 200, doubled each time, up to 5,000. */
  next(): number;
  /** Resets to the first delay. */
  reset(): void;
}

const SHORTEST_MS = 200;
const LONGEST_MS = 5_000;

/** A backoff at its first delay. */
export function createBackoff(): Backoff {
  let waitMs = SHORTEST_MS;
  return {
    next() {
      const present = waitMs;
      waitMs = Math.min(waitMs * 2, LONGEST_MS);
      return present;
    },
    reset() {
      waitMs = SHORTEST_MS;
    },
  };
}
