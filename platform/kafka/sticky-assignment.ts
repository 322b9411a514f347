/**
 * Which member of the consumer group reads which partitions: each keeps what it has, as far as all have
 * the same number. A bridge that comes or goes moves its own share and, where several topics do not divide
 * evenly, now and then one partition more.
 */
import {
  AssignerProtocol,
  type Assignment,
  type GroupMember,
  type PartitionAssigner,
} from 'kafkajs';
import { partitionsWithLeader } from './led-partitions';

const { MemberAssignment, MemberMetadata } = AssignerProtocol;

/** Every member of the group has to know it by this name, and to read and write its `userData`. */
const name = 'commerce-sticky';
const version = 0;

/** An assigner for one consumer, and what it has to be told. */
export interface StickyAssignment {
  readonly assigner: PartitionAssigner;
  /** The consumer has been assigned these partitions: it asks for them at the next rebalance. */
  remember(assigned: Assignment): void;
}

export function createStickyAssignment(): StickyAssignment {
  let owned: Assignment = {};
  return {
    remember(assigned) {
      owned = assigned;
    },
    assigner: ({ cluster }) => ({
      name,
      version,
      protocol: ({ topics }) => {
        const userData = MemberAssignment.encode({ version, assignment: owned, userData: none });
        return { name, metadata: MemberMetadata.encode({ version, topics, userData }) };
      },
      async assign({ members, topics }) {
        const partitions = new Map(
          topics.map((topic) => [topic, partitionsWithLeader(cluster, topic)] as const),
        );
        return [...shareOut(partitions, members.map(ownerOf))].map(([memberId, assignment]) => ({
          memberId,
          memberAssignment: MemberAssignment.encode({ version, assignment, userData: none }),
        }));
      },
    }),
  };
}

const none = Buffer.alloc(0);

interface Owner {
  readonly memberId: string;
  readonly owned: Assignment;
}

function ownerOf({ memberId, memberMetadata }: GroupMember): Owner {
  const userData = MemberMetadata.decode(memberMetadata)?.userData;
  return { memberId, owned: MemberAssignment.decode(userData ?? none)?.assignment ?? {} };
}

interface Share extends Owner {
  readonly assigned: Assignment;
  total: number;
}

/**
 * Shares out the partitions of each topic: of each topic, and of all together, no member has two more
 * than another.
 */
function shareOut(
  partitions: ReadonlyMap<string, readonly number[]>,
  owners: readonly Owner[],
): Map<string, Assignment> {
  const shares = owners.map((owner): Share => ({ ...owner, assigned: {}, total: 0 }));
  for (const [topic, all] of partitions) shareOutTopic(topic, all, shares);
  return new Map(shares.map(({ memberId, assigned }) => [memberId, assigned]));
}

function shareOutTopic(topic: string, all: readonly number[], shares: Share[]): void {
  const ownedBy = ({ owned }: Owner): readonly number[] => owned[topic] ?? [];
  shares.sort(
    (one, other) =>
      one.total - other.total ||
      ownedBy(other).length - ownedBy(one).length ||
      (one.memberId < other.memberId ? -1 : 1),
  );
  const least = Math.floor(all.length / shares.length);
  const withOneMore = all.length % shares.length;
  const free = new Set(all);
  const take = (share: Share, partition: number): void => {
    free.delete(partition);
    (share.assigned[topic] ??= []).push(partition);
    share.total += 1;
  };
  const quotas = shares.map((share, rank) => ({
    share,
    most: least + (rank < withOneMore ? 1 : 0),
  }));
  const hasLess = ({ share, most }: (typeof quotas)[number]): boolean =>
    (share.assigned[topic]?.length ?? 0) < most;
  for (const quota of quotas) {
    for (const partition of ownedBy(quota.share)) {
      // A member that was away may ask for what others have by now.
      if (free.has(partition) && hasLess(quota)) take(quota.share, partition);
    }
  }
  for (const quota of quotas) {
    for (const partition of free) if (hasLess(quota)) take(quota.share, partition);
  }
}
