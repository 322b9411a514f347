/** How far a consumer group is behind the ends of its topics, and what holds it back. */
import type { Kafka } from 'kafkajs';
import { readPartitionLogs, type PartitionLog } from './partition-log';

/** A partition of a topic, and where a group stands in it. */
export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  /** The next offset that the group will read; null when it has committed none yet. */
  readonly committed: number | null;
  /** The first offset that is still there. */
  readonly start: number;
  /** The offset that the next message will get. */
  readonly end: number;
  /** Messages that are there and not committed. */
  readonly lag: number;
  /** What keeps the group from what it has not committed, where that is not the group itself. */
  readonly heldBackBy?: 'open-transaction';
  /**
   * When the first message that is not committed was produced, in ms since the epoch, as its producer
   * says; absent when there is none, or nothing but the marks of transactions.
   */
  readonly oldestUncommittedAt?: number;
}

/** A topic of which nothing can be told now: it is missing, forbidden or without a leader. */
export interface UnreadableTopic {
  readonly topic: string;
  readonly error: Error;
}

/** Where a group stands. */
export interface GroupProgress {
  /** Every partition that can be read, in the order of the topics. */
  readonly partitions: readonly PartitionLag[];
  readonly unreadable: readonly UnreadableTopic[];
}

/**
 * Where the group stands in each partition of the topics. One that cannot be read does not keep the
 * others from being told.
 *
 * @throws when Kafka is away
 */
export async function readGroupProgress(
  kafka: Kafka,
  groupId: string,
  topics: readonly string[],
): Promise<GroupProgress> {
  // The offsets first: read the other way round, a group could seem to be past the end.
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
 * Where the group stands in each partition of the topics, in their order.
 *
 * @throws when Kafka is away, or one of the topics cannot be read
 */
export async function readConsumerLag(
  kafka: Kafka,
  groupId: string,
  topics: readonly string[],
): Promise<PartitionLag[]> {
  const { partitions, unreadable } = await readGroupProgress(kafka, groupId, topics);
  if (unreadable[0] !== undefined) throw unreadable[0].error;
  return [...partitions];
}

/** How many messages of all the partitions are not committed. */
export function totalLag(partitions: readonly PartitionLag[]): number {
  return partitions.reduce((sum, { lag }) => sum + lag, 0);
}

/** The lag of a partition, from where its log stands and what the group has committed. */
export function toLag(
  { topic, partition, start, end, stableEnd, nextAt }: PartitionLog,
  committed: number | null,
): PartitionLag {
  // Where the log does not reach, nothing is behind: deleted, or of a topic that has been made anew since.
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

// A client of its own: kafkajs refuses every topic of a client together when one of them is refused.
async function readCommitted(kafka: Kafka, groupId: string, topic: string): Promise<Committed> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const [answer] = await admin.fetchOffsets({ groupId, topics: [topic] });
    const positions = (answer?.partitions ?? []).map(({ partition, offset }) => ({
      topic,
      partition,
      // Below 0 it says that nothing is committed.
      offset: Number(offset) < 0 ? null : Number(offset),
    }));
    return { topic, positions: positions.sort((one, other) => one.partition - other.partition) };
  } catch (error) {
    if (isAboutTopic(error)) return { topic, error: error as Error };
    throw error;
  } finally {
    await admin.disconnect();
  }
}

const topicErrors = [
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'TOPIC_AUTHORIZATION_FAILED',
  'INVALID_TOPIC_EXCEPTION',
];

// kafkajs wraps an error that it has tried again in one that has it as its cause.
function isAboutTopic(error: unknown): boolean {
  const { type, cause } = error as { type?: string; cause?: unknown };
  if (type !== undefined && topicErrors.includes(type)) return true;
  return cause instanceof Error && isAboutTopic(cause);
}
