/** State and readiness of the bridge, read from its gauges so that the two cannot disagree. */
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
    /** Why consumption is paused; empty while it runs. */
    readonly pausedBy: readonly string[];
    /** Consumer lag over all partitions; null while it is unknown. */
    readonly lag: number | null;
    /** Partitions blocked by an open transaction, as `topic/partition`. */
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
 * Readiness checks of the bridge besides the servers and topics that every process checks: a stalled
 * consumer group makes it unready.
 *
 * @param hasJoined whether the consumer has joined its group yet
 * @param kafkaName name of the check of the brokers
 */
export function bridgeChecks(
  hasJoined: () => boolean | undefined,
  kafkaName = 'kafka',
): readonly Check[] {
  const probeConsumer = async (): Promise<void> => {
    if (!hasJoined())
      throw new Error(
        'has not joined its consumer group yet, or cannot read what operators hold (see its log)',
      );
  };
  return [
    { name: 'consumer', required: true, probe: probeConsumer },
    { name: kafkaName, required: true, probe: probeKafka },
    { name: 'progress', required: true, probe: probeProgress },
  ];
}

/** Up while the brokers report the consumer lag. */
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
  // With every topic missing there is no lag, but the brokers answer.
  const areMissing = topics.values.length > 0 && topics.values.every(({ value }) => value === 0);
  return areMissing ? 0 : null;
}
