/** What the bridge tells of its state: what its gauges say, so that the two cannot disagree. */
import type { Check } from '../platform/health';
import { bridgeInFlight, bridgePaused, bridgeSlots, consumerLag } from '../platform/telemetry';

/** The bridge's state, for people. */
export interface BridgeState {
  readonly bridge: {
    /** What it waits for instead of reading on; empty while it reads. */
    readonly pausedBy: readonly string[];
    /** Messages that the group has not committed; null while that cannot be seen. */
    readonly lag: number | null;
    readonly inFlight: number;
    readonly slots: number;
  };
}

/** The bridge's state now. */
export async function readBridgeState(): Promise<BridgeState> {
  const paused = (await bridgePaused.get()).values.filter(({ value }) => value > 0);
  return {
    bridge: {
      pausedBy: paused.map(({ labels }) => String(labels.reason)),
      lag: await readLag(),
      inFlight: (await bridgeInFlight.get()).values[0]?.value ?? 0,
      slots: (await bridgeSlots.get()).values[0]?.value ?? 0,
    },
  };
}

/** The brokers tell how far the group is. */
export const kafkaCheck: Check = {
  name: 'kafka',
  required: true,
  probe: async () => {
    if ((await readLag()) === null) throw new Error('not connected');
  },
};

async function readLag(): Promise<number | null> {
  const { values } = await consumerLag.get();
  return values.length === 0 ? null : values.reduce((sum, { value }) => sum + value, 0);
}
