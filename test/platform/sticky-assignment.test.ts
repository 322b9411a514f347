/** Which member reads which partitions, and who keeps what when members come and go. */
import { AssignerProtocol, type Assignment, type PartitionMetadata } from 'kafkajs';
import fc from 'fast-check';
import { createStickyAssignment } from '../../platform/kafka/sticky-assignment';

const { MemberAssignment } = AssignerProtocol;

type Topics = Readonly<Record<string, readonly number[]>>;

/** A member with what it has been assigned so far. */
interface Member {
  readonly memberId: string;
  readonly owned: Assignment;
}

const nothing: Assignment = {};

/** The partitions of a topic, and those of them that have no leader. */
function clusterOf(topics: Topics, leaderless: readonly number[] = []) {
  const findTopicPartitionMetadata = (topic: string): PartitionMetadata[] =>
    topics[topic]!.map((partitionId) => ({
      partitionId,
      leader: leaderless.includes(partitionId) ? -1 : 7,
    })) as PartitionMetadata[];
  return { findTopicPartitionMetadata };
}

/** A rebalance: each member asks for what it has, and the first one shares out. */
async function rebalance(
  members: readonly Member[],
  topics: Topics,
  leaderless?: readonly number[],
): Promise<Member[]> {
  const names = Object.keys(topics);
  const joined = members.map(({ memberId, owned }) => {
    const { assigner, remember } = createStickyAssignment();
    remember(owned);
    const config = { cluster: clusterOf(topics, leaderless) };
    const made = assigner(config as unknown as Parameters<typeof assigner>[0]);
    return { memberId, assigner: made, memberMetadata: made.protocol({ topics: names }).metadata };
  });
  const shares = await joined[0]!.assigner.assign({ members: joined, topics: names });
  return shares.map(({ memberId, memberAssignment }) => ({
    memberId,
    owned: MemberAssignment.decode(memberAssignment)!.assignment,
  }));
}

function newMember(memberId: string): Member {
  return { memberId, owned: nothing };
}

function countOf({ owned }: Member, topic: string): number {
  return owned[topic]?.length ?? 0;
}

function totalOf({ owned }: Member): number {
  return Object.values(owned).flat().length;
}

function spread(counts: readonly number[]): number {
  return Math.max(...counts) - Math.min(...counts);
}

/** Partitions that are with another member than before. */
function moved(before: readonly Member[], after: readonly Member[]): string[] {
  const ownerOf = (members: readonly Member[]) =>
    new Map(
      members.flatMap(({ memberId, owned }) =>
        Object.entries(owned).flatMap(([topic, own]) =>
          own.map((partition) => [`${topic}/${partition}`, memberId] as const),
        ),
      ),
    );
  const [old, now] = [ownerOf(before), ownerOf(after)];
  return [...old].filter(([key, owner]) => now.get(key) !== owner).map(([key]) => key);
}

const sixEach: Topics = {
  'catalog-events': [0, 1, 2, 3, 4, 5],
  'order-events': [0, 1, 2, 3, 4, 5],
};

test('whoever has asked for what, each partition has one reader, and none has two more than another', async () => {
  const partitions = fc.integer({ min: 1, max: 9 }).map((count) => [...Array(count).keys()]);
  const topics = fc.record({ 'catalog-events': partitions, 'order-events': partitions });
  const claims = fc.record({
    'catalog-events': fc.uniqueArray(fc.nat(9)),
    'order-events': fc.uniqueArray(fc.nat(9)),
  });
  await fc.assert(
    fc.asyncProperty(
      topics,
      fc.array(claims, { minLength: 1, maxLength: 8 }),
      async (all, asked) => {
        const members = asked.map((owned, index) => ({ memberId: `member-${index}`, owned }));
        const shares = await rebalance(members, all);
        for (const [topic, expected] of Object.entries(all)) {
          const assigned = shares.flatMap(({ owned }) => owned[topic] ?? []);
          expect(assigned.sort((one, other) => one - other)).toEqual(expected);
          expect(spread(shares.map((share) => countOf(share, topic)))).toBeLessThanOrEqual(1);
        }
        expect(spread(shares.map(totalOf))).toBeLessThanOrEqual(1);
      },
    ),
  );
});

test('one that comes gets its share, and nothing else moves; when it goes, its share alone does', async () => {
  const two = await rebalance([newMember('a'), newMember('b')], sixEach);
  const three = await rebalance([...two, newMember('new')], sixEach);
  const own = three.find(({ memberId }) => memberId === 'new')!;
  expect(moved(two, three)).toHaveLength(totalOf(own));
  const left = three.filter((member) => member !== own);
  const twoAgain = await rebalance(left, sixEach);
  expect(moved(left, twoAgain)).toEqual([]);
});

test('one that takes the place of another gets what that had, and nothing else moves', async () => {
  const topics: Topics = { 'catalog-events': [0, 1, 2, 3, 4, 5] };
  const four = await rebalance(['b', 'c', 'd', 'e'].map(newMember), topics);
  const gone = four.find((member) => countOf(member, 'catalog-events') === 1);
  const left = four.filter((member) => member !== gone);
  const after = await rebalance([newMember('a'), ...left], topics);
  expect(moved(left, after)).toEqual([]);
});

test('a member without a share is told so', async () => {
  const shares = await rebalance([newMember('a'), newMember('b')], { 'order-events': [0] });
  expect(shares.map(totalOf).sort()).toEqual([0, 1]);
});

test('partitions without a leader are assigned to nobody, whoever had them', async () => {
  const owned = { 'order-events': [0, 1, 2] };
  const [own] = await rebalance([{ memberId: 'a', owned }], { 'order-events': [0, 1, 2] }, [1]);
  expect(own!.owned).toEqual({ 'order-events': [0, 2] });
});
