/** A consumer group, from outside: who is in it, and where it goes on. */
import { withAdmin } from './admin';
import type { KafkaClient } from './kafkajs';

/** How many members the group has; 0 for one that does not exist. @throws when Kafka is unavailable */
export function countMembers(kafka: KafkaClient, groupId: string): Promise<number> {
  return withAdmin(kafka, async (admin) => {
    const { groups } = await admin.describeGroups([groupId]);
    return groups[0]?.members.length ?? 0;
  });
}

/** Where a group is to go on in a partition. */
export interface NextOffset {
  readonly topic: string;
  readonly partition: number;
  /** The next to be read. */
  readonly offset: number;
}

/** Commits offsets for a group without members. @throws when it has members, or Kafka is unavailable */
export function moveGroup(
  kafka: KafkaClient,
  groupId: string,
  positions: readonly NextOffset[],
): Promise<void> {
  return withAdmin(kafka, async (admin) => {
    for (const topic of new Set(positions.map((each) => each.topic))) {
      const partitions = positions
        .filter((each) => each.topic === topic)
        .map(({ partition, offset }) => ({ partition, offset: String(offset) }));
      await admin.setOffsets({ groupId, topic, partitions });
    }
  });
}
