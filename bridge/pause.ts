/** Publishes whether and why the bridge has paused consumption. */
import { bridgePaused, type BridgePause } from '../platform/observability/telemetry';

/** A reason for which any number of messages may wait. */
export interface Pause {
  /** Runs `wait`; while any runs, the bridge counts as paused. */
  during<T>(wait: () => Promise<T>): Promise<T>;
}

/** How many wait, by reason: several parts of a bridge may wait for the same. */
const waiting = new Map<BridgePause, number>();

/** A pause for a reason, inactive at first. */
export function createPause(reason: BridgePause): Pause {
  const change = (by: number): void => {
    const now = (waiting.get(reason) ?? 0) + by;
    waiting.set(reason, now);
    bridgePaused.set({ reason }, now > 0 ? 1 : 0);
  };
  change(0);
  return {
    async during(wait) {
      change(1);
      try {
        return await wait();
      } finally {
        change(-1);
      }
    },
  };
}
