/** What the bridge tells of its state: what its gauges say, so that the two cannot disagree. */
import type { Check } from '../platform/health';
import {
  bridgeInFlight,
  bridgePaused,
  bridgeSlots,
  consumerLag,
  consumerStalled,
  partitionHeldBack,
  topicReadable,
} from '../platform/telemetry';

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
 * What a bridge depends on besides the servers that every process asks for itself. A topic that
 * cannot be read keeps it from no other; a group that stands still makes it of no use.
 *
 * @param kafkaName what the check of the brokers is called
 */
export function bridgeChecks(kafkaName = 'kafka'): readonly Check[] {
  return [
    { name: kafkaName, required: true, probe: probeKafka },
    { name: 'topics', required: false, probe: probeTopics },
    { name: 'progress', required: true, probe: probeProgress },
  ];
}

/** The brokers tell how far the group is. */
async function probeKafka(): Promise<void> {
  if ((await readLag()) === null) throw new Error('not connected');
}

async function probeTopics(): Promise<void> {
  const unreadable = (await topicReadable.get()).values.filter(({ value }) => value === 0);
  if (unreadable.length === 0) return;
  const names = unreadable.map(({ labels }) => labels.topic).join(', ');
  throw new Error(`missing, forbidden or without a leader: ${names}`);
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
  const [{ values }, readable] = await Promise.all([consumerLag.get(), topicReadable.get()]);
  // With every topic missing the brokers answer all the same.
  return readable.values.length === 0 ? null : values.reduce((sum, { value }) => sum + value, 0);
}
