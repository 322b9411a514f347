/** How far a consumer group is behind the ends of its topics. */
import type { Kafka } from 'kafkajs';

/** A partition of a topic, and where a group stands in it. */
export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  /** The next offset that the group will read; null when it has committed none yet. */
  readonly committed: number | null;
  /** The offset that the next message will get. */
  readonly end: number;
  /** Messages that are there and not committed. */
  readonly lag: number;
}

/** Where the group stands in each partition of the topics, in their order. @throws when Kafka is away */
export async function readConsumerLag(
  kafka: Kafka,
  groupId: string,
  topics: readonly string[],
): Promise<PartitionLag[]> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    // The offsets first: read the other way round, a group could seem to be past the end.
    const committed = await admin.fetchOffsets({ groupId, topics: [...topics] });
    const perTopic = await Promise.all(
      topics.map(async (topic) => {
        const own = committed.find((each) => each.topic === topic)?.partitions ?? [];
        const offsetOf = new Map(own.map(({ partition, offset }) => [partition, Number(offset)]));
        const bounds = await admin.fetchTopicOffsets(topic);
        return bounds
          .map(({ partition, low, high }) =>
            toLag(topic, partition, offsetOf.get(partition) ?? -1, Number(low), Number(high)),
          )
          .sort((one, other) => one.partition - other.partition);
      }),
    );
    return perTopic.flat();
  } finally {
    await admin.disconnect();
  }
}

/** How many messages of all the partitions are not committed. */
export function totalLag(partitions: readonly PartitionLag[]): number {
  return partitions.reduce((sum, { lag }) => sum + lag, 0);
}

// -1 says that nothing is committed. What retention has deleted is not behind anybody any more.
function toLag(
  topic: string,
  partition: number,
  offset: number,
  low: number,
  end: number,
): PartitionLag {
  const committed = offset < 0 ? null : offset;
  return { topic, partition, committed, end, lag: Math.max(end - Math.max(offset, low), 0) };
}
