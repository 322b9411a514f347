/**
 * Detects a topic that was recreated or truncated under a running consumer: the consumer would continue
 * at its old position, and never read what the new log has before it. Pure.
 */
import type { PartitionLag } from '../platform/kafka/consumer-lag';

/** Compares successive positions of the group. */
export interface RecreatedTopicWatch {
  /**
   * Takes the current position of the group.
   *
   * @returns the topics whose log end moved back, or whose committed offsets are gone, as after the
   *   deletion of a topic
   */
  observe(partitions: readonly PartitionLag[]): string[];
}

/** A watch without a first position. */
export function createRecreatedTopicWatch(): RecreatedTopicWatch {
  let before = new Map<string, PartitionLag>();
  return {
    observe(partitions) {
      const recreated = partitions.filter((lag) => isRemade(before.get(keyOf(lag)), lag));
      // Unreadable partitions are compared when they are readable again.
      before = new Map([...before, ...partitions.map((lag) => [keyOf(lag), lag] as const)]);
      return [...new Set(recreated.map(({ topic }) => topic))];
    },
  };
}

function keyOf({ topic, partition }: PartitionLag): string {
  return `${topic}/${partition}`;
}

function isRemade(before: PartitionLag | undefined, now: PartitionLag): boolean {
  if (before === undefined) return false;
  const isForgotten = before.committed !== null && now.committed === null;
  return isForgotten || now.end < before.end;
}
