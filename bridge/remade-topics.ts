/**
 * Sees that a topic was made anew, or its log cut, under a consumer that reads on at its old position:
 * what the new log has before that position would never be read. Pure.
 */
import type { PartitionLag } from '../platform/kafka/consumer-lag';

/** Compares one look at the group with the look before. */
export interface RemadeTopicWatch {
  /**
   * Takes in where the group stands.
   *
   * @returns the topics whose log ends before where it ended, or of which the brokers have forgotten
   * what the group had committed, as they do when a topic is deleted
   */
  observe(partitions: readonly PartitionLag[]): string[];
}

/** A watch that has seen nothing yet. */
export function createRemadeTopicWatch(): RemadeTopicWatch {
  let before = new Map<string, PartitionLag>();
  return {
    observe(partitions) {
      const remade = partitions.filter((lag) => isRemade(before.get(keyOf(lag)), lag));
      // What cannot be read now is compared when it can be again.
      before = new Map([...before, ...partitions.map((lag) => [keyOf(lag), lag] as const)]);
      return [...new Set(remade.map(({ topic }) => topic))];
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
