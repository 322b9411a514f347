/**
 * Which partitions may be assigned: those that have a leader. kafkajs looks up the start offsets of all new
 * partitions at once, and reads nothing until it has all of them.
 */
import {
  PartitionAssigners,
  type Cluster,
  type PartitionAssigner,
  type PartitionMetadata,
} from 'kafkajs';

/** The partitions of a topic that have a leader. */
export function partitionsWithLeader(cluster: Cluster, topic: string): number[] {
  const partitions = cluster.findTopicPartitionMetadata(topic);
  return partitions.filter(isLed).map(({ partitionId }) => partitionId);
}

/** Assigns the partitions that have a leader in turn, as bridges before the sticky assignment do. */
export const assignPartitionsWithLeader: PartitionAssigner = (config) => {
  const { cluster } = config;
  const findTopicPartitionMetadata: typeof cluster.findTopicPartitionMetadata = (topic) =>
    cluster.findTopicPartitionMetadata(topic).filter(isLed);
  const led = Object.create(cluster, {
    findTopicPartitionMetadata: { value: findTopicPartitionMetadata },
  }) as typeof cluster;
  return PartitionAssigners.roundRobin({ ...config, cluster: led });
};

function isLed({ leader }: PartitionMetadata): boolean {
  return leader >= 0;
}
