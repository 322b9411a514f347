/** What the bridge tells of its state: what its gauges say, so that the two cannot disagree. */
import type { Check } from '../platform/dependencies/readiness';
import {
  bridgeInFlight,
  bridgePaused,
  bridgeSlots,
  consumerLag,
  consumerStalled,
  partitionHeldBack,
  topicAvailable,
} from '../platform/observability/telemetry';

/** The bridge's state, for people. */
export interface BridgeState {
  readonly bridge: {
    /** What it waits for instead of reading on; empty while it reads. */
    readonly pausedBy: readonly string[];
    /** Messages that the group has not committed; null while that cannot be seen. */
    readonly lag: number | null;
    /** Partitions that somebody's open transaction holds back, as `topic/partition`. */
    readonly heldBack: readonly string[];
    readonly inFlight: number;
    readonly slots: number;
  };
}

/** The bridge's state now. */
export async function readBridgeState(): Promise<BridgeState> {
  const heldBack = (await partitionHeldBack.get()).values.filter(({ value }) => value > 0);
  return {
    bridge: {
      pausedBy: await readPauses(),
      lag: await readLag(),
      heldBack: heldBack.map(({ labels }) => `${labels.topic}/${labels.partition}`),
      inFlight: (await bridgeInFlight.get()).values[0]?.value ?? 0,
      slots: (await bridgeSlots.get()).values[0]?.value ?? 0,
    },
  };
}

/**
 * What a bridge depends on besides the servers and topics that every process asks for itself: a group
 * that stands still makes it of no use.
 *
 * @param kafkaName what the check of the brokers is called
 */
export function bridgeChecks(kafkaName = 'kafka'): readonly Check[] {
  return [
    { name: kafkaName, required: true, probe: probeKafka },
    { name: 'progress', required: true, probe: probeProgress },
  ];
}

/** The brokers tell how far the group is. */
async function probeKafka(): Promise<void> {
  if ((await readLag()) === null) throw new Error('not connected');
}

async function probeProgress(): Promise<void> {
  const stalled = (await consumerStalled.get()).values.filter(({ value }) => value > 0);
  if (stalled.length === 0) return;
  const [worst] = stalled.sort((one, other) => other.value - one.value);
  const { topic, partition } = worst!.labels;
  const pauses = await readPauses();
  throw new Error(
    `nothing committed in ${topic}/${partition} for ${Math.round(worst!.value)} s although messages wait` +
      (stalled.length > 1 ? `, and in ${stalled.length - 1} more partitions` : '') +
      (pauses.length > 0 ? `; paused by ${pauses.join(', ')}` : ''),
  );
}

async function readPauses(): Promise<string[]> {
  const paused = (await bridgePaused.get()).values.filter(({ value }) => value > 0);
  return paused.map(({ labels }) => String(labels.reason));
}

async function readLag(): Promise<number | null> {
  const [lags, topics] = await Promise.all([consumerLag.get(), topicAvailable.get()]);
  if (lags.values.length > 0) return lags.values.reduce((sum, { value }) => sum + value, 0);
  // With every topic missing the brokers answer all the same.
  const areMissing = topics.values.length > 0 && topics.values.every(({ value }) => value === 0);
  return areMissing ? 0 : null;
}
