/** Which partitions a bridge of an earlier version is assigned. */
import { AssignerProtocol, type PartitionMetadata } from 'kafkajs';
import { assignPartitionsWithLeader } from '../../platform/kafka/led-partitions';

test('partitions without a leader are assigned to nobody', async () => {
  const partitions = [0, 1, 2].map((partitionId) => ({
    partitionId,
    leader: partitionId === 1 ? -1 : 7,
  })) as PartitionMetadata[];
  const cluster = { findTopicPartitionMetadata: () => partitions };
  const assigner = assignPartitionsWithLeader({ cluster } as unknown as Parameters<
    typeof assignPartitionsWithLeader
  >[0]);
  const members = [{ memberId: 'one', memberMetadata: Buffer.alloc(0) }];
  const [own] = await assigner.assign({ members, topics: ['order-events'] });
  const { assignment } = AssignerProtocol.MemberAssignment.decode(own!.memberAssignment)!;
  expect(assignment).toEqual({ 'order-events': [0, 2] });
});
