/** Consumer lag of a group, by partition, and what blocks it. */
import { withAdmin } from './admin';
import type { KafkaClient } from './kafkajs';
import { readPartitionLogs, type PartitionLog } from './partition-log';

/** The position of a consumer group in a partition. */
export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  /** The committed offset, the next to be read; null when the group has committed none. */
  readonly committed: number | null;
  /** The first offset that is still there. */
  readonly start: number;
  /** The offset that the next message will get. */
  readonly end: number;
  /** Messages that are not committed. */
  readonly lag: number;
  /** What blocks the group, when that is not the group itself. */
  readonly heldBackBy?: 'open-transaction';
  /**
   * Timestamp of the oldest uncommitted message, in ms since the epoch, as set by its producer; absent
   * when there is none, or only transaction markers.
   */
  readonly oldestUncommittedAt?: number;
}

/** A topic that cannot be read now: it is missing, forbidden or without a leader. */
export interface UnreadableTopic {
  readonly topic: string;
  readonly error: Error;
}

/** The position of a consumer group. */
export interface GroupProgress {
  /** Every readable partition, in the order of the topics. */
  readonly partitions: readonly PartitionLag[];
  readonly unreadable: readonly UnreadableTopic[];
}

/**
 * The position of the group in each partition of the topics. An unreadable topic does not affect the
 * others.
 *
 * @throws when Kafka is unavailable
 */
export async function readGroupProgress(
  kafka: KafkaClient,
  groupId: string,
  topics: readonly string[],
): Promise<GroupProgress> {
  // Committed offsets first: read after the log ends, they could be past them.
  const committed = await Promise.all(topics.map((topic) => readCommitted(kafka, groupId, topic)));
  const positions = committed.flatMap((each) => ('error' in each ? [] : each.positions));
  const logs = await readPartitionLogs(kafka, positions);
  const unreadable = new Map<string, Error>();
  for (const each of [...committed, ...logs]) {
    if ('error' in each && !unreadable.has(each.topic)) unreadable.set(each.topic, each.error);
  }
  return {
    partitions: logs.flatMap((log, index) =>
      'error' in log ? [] : [toLag(log, positions[index]!.offset)],
    ),
    unreadable: [...unreadable].map(([topic, error]) => ({ topic, error })),
  };
}

/**
 * The position of the group in each partition of the topics, in their order.
 *
 * @throws when Kafka is unavailable, or one of the topics cannot be read
 */
export async function readConsumerLag(
  kafka: KafkaClient,
  groupId: string,
  topics: readonly string[],
): Promise<PartitionLag[]> {
  const { partitions, unreadable } = await readGroupProgress(kafka, groupId, topics);
  if (unreadable[0] !== undefined) throw unreadable[0].error;
  return [...partitions];
}

export function totalLag(partitions: readonly PartitionLag[]): number {
  return partitions.reduce((sum, { lag }) => sum + lag, 0);
}

/** The lag of a partition, from its log and the committed offset. */
export function toLag(
  { topic, partition, start, end, stableEnd, nextAt }: PartitionLog,
  committed: number | null,
): PartitionLag {
  // A committed offset outside the log counts as none: its messages were deleted, or the topic was
  // recreated.
  const next = committed !== null && committed >= start && committed <= end ? committed : start;
  const lag = Math.max(end - next, 0);
  return {
    topic,
    partition,
    committed,
    start,
    end,
    lag,
    ...(lag > 0 && next >= stableEnd ? { heldBackBy: 'open-transaction' } : {}),
    ...(lag > 0 && nextAt !== undefined ? { oldestUncommittedAt: nextAt } : {}),
  };
}

interface CommittedPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number | null;
}

type Committed =
  { readonly topic: string; readonly positions: readonly CommittedPosition[] } | UnreadableTopic;

// One client a topic: kafkajs fails all topics of a client when one of them fails.
async function readCommitted(
  kafka: KafkaClient,
  groupId: string,
  topic: string,
): Promise<Committed> {
  try {
    const [answer] = await withAdmin(kafka, (admin) =>
      admin.fetchOffsets({ groupId, topics: [topic] }),
    );
    const positions = (answer?.partitions ?? []).map(({ partition, offset }) => ({
      topic,
      partition,
      // Negative: nothing is committed.
      offset: Number(offset) < 0 ? null : Number(offset),
    }));
    return { topic, positions: positions.sort((one, other) => one.partition - other.partition) };
  } catch (error) {
    if (isAboutTopic(error)) return { topic, error: error as Error };
    throw error;
  }
}

const topicErrors = [
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'TOPIC_AUTHORIZATION_FAILED',
  'INVALID_TOPIC_EXCEPTION',
];

// After retries, kafkajs wraps the error as a cause.
function isAboutTopic(error: unknown): boolean {
  const { type, cause } = error as { type?: string; cause?: unknown };
  if (type !== undefined && topicErrors.includes(type)) return true;
  return cause instanceof Error && isAboutTopic(cause);
}
