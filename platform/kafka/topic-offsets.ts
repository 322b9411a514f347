/** Where the partitions of a topic begin and end, and where they were at a time. */
import { withAdmin } from './admin';
import type { KafkaClient } from './kafkajs';

/** What of a partition is there. */
export interface PartitionBounds {
  readonly partition: number;
  /** The first offset that is still there. */
  readonly start: number;
  /** The offset that the next message will get. */
  readonly end: number;
}

/** The bounds of each partition of a topic. @throws when Kafka is unavailable */
export function readBounds(kafka: KafkaClient, topic: string): Promise<PartitionBounds[]> {
  return withAdmin(kafka, async (admin) => {
    const partitions = await admin.fetchTopicOffsets(topic);
    return partitions.map(({ partition, low, high }) => ({
      partition,
      start: Number(low),
      end: Number(high),
    }));
  });
}

/**
 * The first offset of each partition, by its number, whose message is not older than the time, as its
 * producer has set it; the end of the log where there is none.
 *
 * @throws when Kafka is unavailable
 */
export function readOffsetsAt(
  kafka: KafkaClient,
  topic: string,
  time: Date,
): Promise<ReadonlyMap<number, number>> {
  return withAdmin(kafka, async (admin) => {
    const partitions = await admin.fetchTopicOffsetsByTimestamp(topic, time.getTime());
    return new Map(partitions.map(({ partition, offset }) => [partition, Number(offset)]));
  });
}
