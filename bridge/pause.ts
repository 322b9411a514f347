/** Tells whether the bridge holds its partitions back, and what it waits for. */
import { bridgePaused, type BridgePause } from '../platform/observability/telemetry';

/** One thing that any number of messages may be waiting for. */
export interface Pause {
  /** Runs `wait`; as long as any is running, the bridge counts as paused. */
  during<T>(wait: () => Promise<T>): Promise<T>;
}

/** A pause for a reason, which nothing waits for yet. */
export function createPause(reason: BridgePause): Pause {
  let waiting = 0;
  const show = (): void => bridgePaused.set({ reason }, waiting > 0 ? 1 : 0);
  show();
  return {
    async during(wait) {
      waiting += 1;
      show();
      try {
        return await wait();
      } finally {
        waiting -= 1;
        show();
      }
    },
  };
}
