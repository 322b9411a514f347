/** How long to wait before something that keeps ending is started again. */

/** Waits that grow while there is no success. */
export interface Backoff {
  /** The next wait in ms: 200 at first, then twice as long each time, up to 5,000. */
  next(): number;
  /** Begins anew. */
  reset(): void;
}

const SHORTEST_MS = 200;
const LONGEST_MS = 5_000;

/** A backoff that has not waited yet. */
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
