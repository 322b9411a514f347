/** Publishes whether and why the bridge has paused consumption. */
import { bridgePaused, type BridgePause } from '../platform/observability/telemetry';

/** A reason for which any number of messages may wait. */
export interface Pause {
  /** Runs `wait`; while any runs, the bridge counts as paused. */
  during<T>(wait: () => Promise<T>): Promise<T>;
}

/** A pause for a reason, inactive at first. */
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
