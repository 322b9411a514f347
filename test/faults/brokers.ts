/** Faults of a Kafka with three brokers: what one of them, or one partition, can do to the others. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Partitioners, type Admin, type PartitionMetadata } from 'kafkajs';
import type { ServerName } from '../../cluster/local-cluster';
import { eventTopics, partitionsPerTopic } from '../../events/topics';
import { withAdmin } from '../../platform/kafka/admin';
import type { Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { timeOf } from './clock';
import type { Fault, FaultContext } from './faults';
import { freezeServer, killServer } from './servers';

/** For how long one broker is away. */
const awayMs = 30_000;

/** Longer than every time-out of brokers and clients. */
const frozenMs = 60_000;

/**
 * Within this time events are published again while a broker is away: the controller waits 9 s for it,
 * a request to it may hang for 10 s, and publications wait between their tries.
 */
const publishedWithinMs = 30_000;

/** How long leaders move in turn. */
const movingMs = 20_000;

/** Every fault that needs three brokers. */
export const brokerFaults: readonly Fault[] = [
  {
    name: 'rolling-restart',
    strikes:
      'each broker in turn is stopped properly and started again, the next one when all replicas are in sync; events are published in each partition that the stopped one led',
    needsBrokers: 3,
    async inject({ stack }) {
      for (const broker of stack.cluster.brokers) {
        const led = await partitionsLedBy(stack, broker);
        await stack.cluster.stop(broker);
        await thenStart(stack, [broker], () => untilPublishing(stack, led, `${broker} is stopped`));
      }
    },
  },
  {
    name: 'leader-killed',
    strikes: `kill -9 of the broker that leads most partitions, which stays away for ${awayMs / 1_000} s; events are published meanwhile in each partition that it led`,
    needsBrokers: 3,
    async inject({ stack }) {
      const leader = await busiestBroker(stack);
      const led = await partitionsLedBy(stack, leader);
      await killServer(stack, leader);
      await thenStart(stack, [leader], () =>
        Promise.all([sleep(awayMs), untilPublishing(stack, led, `${leader} is dead`)]),
      );
    },
  },
  {
    name: 'leader-frozen',
    strikes: `the broker that leads most partitions is frozen for ${frozenMs / 1_000} s and wakes up as nobody's leader; events are published meanwhile in each partition that it led`,
    needsBrokers: 3,
    async inject({ stack }) {
      const leader = await busiestBroker(stack);
      const led = await partitionsLedBy(stack, leader);
      const resume = await freezeServer(stack, leader);
      try {
        await Promise.all([sleep(frozenMs), untilPublishing(stack, led, `${leader} is frozen`)]);
      } finally {
        resume();
      }
      await untilInSync(stack);
    },
  },
  {
    name: 'too-few-in-sync',
    strikes: `two of three brokers are stopped for ${awayMs / 1_000} s: the third one takes nothing, and nothing counts as published`,
    needsBrokers: 3,
    async inject({ stack }) {
      const [first, second] = stack.cluster.brokers as [ServerName, ServerName];
      await stack.cluster.stop(first);
      await stack.cluster.stop(second);
      await thenStart(stack, [first, second], async () => {
        // What the brokers took before may still be marked.
        await sleep(5_000);
        const from = await timeOf(stack);
        await sleep(awayMs - 5_000);
        const published = await countPublishedSince(stack, from);
        if (published > 0) throw new Error(`${published} events count as published on one broker.`);
      });
    },
  },
  {
    name: 'partition-without-leader',
    strikes: `the only broker that has partition 0 of each topic is stopped for ${awayMs / 1_000} s; what goes to the others is published`,
    needsBrokers: 3,
    inject: takeLeaderAway,
  },
  {
    name: 'leaders-moved',
    strikes: `the partitions are given to other brokers again and again for ${movingMs / 1_000} s, each at another moment`,
    needsBrokers: 3,
    inject: moveLeaders,
  },
];

/** Moves partitions between the brokers, so that their leaders change under the producers' requests. */
export async function moveLeaders({ stack, random }: FaultContext): Promise<void> {
  const ids = brokerIds(stack);
  for (const deadline = Date.now() + movingMs; Date.now() < deadline; await sleep(100)) {
    const partition = random.below(partitionsPerTopic);
    await reassign(stack, partition, random.shuffle(ids).slice(0, 2));
  }
  await spreadAgain(stack);
  await untilInSync(stack);
}

async function spreadAgain(stack: Stack): Promise<void> {
  const ids = brokerIds(stack);
  await untilPlaced(stack, () => ids);
}

/** Gives each partition to brokers; again where a move that was still under way has come last. */
async function untilPlaced(
  stack: Stack,
  brokersOf: (partition: number) => readonly number[],
): Promise<void> {
  const look = async (): Promise<boolean> => {
    const misplaced = (await withAdmin(stack.kafka, readPartitions)).filter(
      ({ partitionId, replicas }) =>
        replicas.toSorted().join() !== brokersOf(partitionId).toSorted().join(),
    );
    for (const partition of new Set(misplaced.map(({ partitionId }) => partitionId))) {
      await reassign(stack, partition, [...brokersOf(partition)]);
    }
    return misplaced.length === 0;
  };
  await until('each partition is where it belongs', look, { timeoutMs: 60_000, pollMs: 2_000 });
}

/** The partition, of each topic, that loses its leader. */
const lonely = 0;

async function takeLeaderAway({ stack }: FaultContext): Promise<void> {
  const keeper = stack.cluster.brokers[0]!;
  const ids = brokerIds(stack);
  await untilPlaced(stack, (partition) => (partition === lonely ? ids.slice(0, 1) : ids));
  await stack.cluster.stop(keeper);
  const assertOthersPublished = async (): Promise<void> => {
    const from = await timeOf(stack);
    await sleep(awayMs);
    await assertPublishedWithLeader(stack, from);
  };
  await thenStart(stack, [keeper], assertOthersPublished, () => spreadAgain(stack));
}

/** Starts brokers after `work`, however it ends, then waits until they have all that they missed. */
async function thenStart(
  stack: Stack,
  brokers: readonly ServerName[],
  work: () => Promise<unknown>,
  onceStarted: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  try {
    await work();
  } finally {
    await Promise.all(brokers.map((broker) => stack.cluster.start(broker)));
    await onceStarted();
  }
  await untilInSync(stack);
}

/** @throws when events were not published although their partition has a leader */
async function assertPublishedWithLeader({ pool }: Stack, from: Date): Promise<void> {
  const { rows } = await pool.query<{ topic: string; key: string; published: boolean }>(
    `SELECT topic, key, published_at IS NOT NULL AS published FROM commerce.outbox
      WHERE created_at > $1 AND created_at < now() - make_interval(secs => $2)`,
    [from, publishedWithinMs / 2_000],
  );
  const partitionOf = createPartitioner();
  const elsewhere = rows.filter((row) => partitionOf(row) !== lonely);
  const waiting = elsewhere.filter(({ published }) => !published);
  if (elsewhere.length === 0 || elsewhere.length === rows.length) {
    throw new Error(`${elsewhere.length} of ${rows.length} events show nothing.`);
  }
  if (waiting.length > 0) {
    const affected = `${waiting.length} of ${elsewhere.length} events`;
    throw new Error(`${affected} were held up by a partition that they do not go to.`);
  }
}

/** The partition that the producers choose for a key, while each has a leader. */
function createPartitioner(): (row: { readonly topic: string; readonly key: string }) => number {
  const choose = Partitioners.DefaultPartitioner();
  const partitionMetadata = Array.from({ length: partitionsPerTopic }, (_, partitionId) => ({
    partitionId,
    leader: 1,
  })) as PartitionMetadata[];
  return ({ topic, key }) => choose({ topic, partitionMetadata, message: { key, value: null } });
}

/** Fewer partitions would not show that all go on: the load may not have touched more, but these. */
const leastTouched = 2;

/** @throws when, of any partition in `led`, no event of now is published in time */
async function untilPublishing(
  stack: Stack,
  led: ReadonlySet<string>,
  meanwhile: string,
): Promise<void> {
  const from = await timeOf(stack);
  const partitionOf = createPartitioner();
  const look = async (): Promise<boolean> => {
    const { rows } = await stack.pool.query<{ topic: string; key: string; published: boolean }>(
      `SELECT topic, key, published_at IS NOT NULL AS published FROM commerce.outbox
       WHERE created_at > $1`,
      [from],
    );
    const placed = rows
      .map((row) => ({ ...row, place: `${row.topic}/${partitionOf(row)}` }))
      .filter(({ place }) => led.has(place));
    const touched = new Set(placed.map(({ place }) => place));
    const published = new Set(placed.filter((row) => row.published).map(({ place }) => place));
    if (published.size >= Math.min(leastTouched, led.size) && published.size === touched.size) {
      return true;
    }
    throw new Error(`published in ${[...published].join()} of ${[...touched].join()}`);
  };
  await until(`events are published in ${[...led].join(', ')} while ${meanwhile}`, look, {
    timeoutMs: publishedWithinMs,
  });
}

async function countPublishedSince({ pool }: Stack, from: Date): Promise<number> {
  const { rows } = await pool.query<{ published: number }>(
    'SELECT count(*)::int AS published FROM commerce.outbox WHERE published_at > $1',
    [from],
  );
  return rows[0]!.published;
}

async function untilInSync(stack: Stack): Promise<void> {
  const { length } = stack.cluster.brokers;
  const look = async (): Promise<boolean> => {
    const behind = (await withAdmin(stack.kafka, readPartitions)).filter(
      ({ leader, isr }) => leader < 0 || isr.length < length,
    );
    if (behind.length === 0) return true;
    const seen = behind.map(
      ({ topic, partitionId, leader, replicas, isr }) =>
        `${topic}/${partitionId}: leader ${leader}, replicas ${replicas.join()}, in sync ${isr.join()}`,
    );
    throw new Error(seen.join('; '));
  };
  await until('all replicas are in sync', look, { timeoutMs: 60_000, pollMs: 500 });
}

/** The broker that leads most partitions of the events' topics. */
async function busiestBroker(stack: Stack): Promise<ServerName> {
  const partitions = await withAdmin(stack.kafka, readPartitions);
  const led = (id: number): number => partitions.filter(({ leader }) => leader === id).length;
  const [busiest] = brokerIds(stack).toSorted((one, other) => led(other) - led(one));
  return stack.cluster.brokers[busiest! - 1]!;
}

/** The partitions that a broker leads, as `topic/partition`. */
async function partitionsLedBy(stack: Stack, broker: ServerName): Promise<ReadonlySet<string>> {
  const id = stack.cluster.brokers.indexOf(broker) + 1;
  const partitions = await withAdmin(stack.kafka, readPartitions);
  return new Set(
    partitions
      .filter(({ leader }) => leader === id)
      .map(({ topic, partitionId }) => `${topic}/${partitionId}`),
  );
}

/** Kafka's IDs of the brokers, in the order of their names. */
function brokerIds({ cluster }: Stack): number[] {
  return cluster.brokers.map((_, index) => index + 1);
}

async function readPartitions(
  admin: Admin,
): Promise<(PartitionMetadata & { readonly topic: string })[]> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [...eventTopics] });
  return topics.flatMap(({ name, partitions }) =>
    partitions.map((partition) => ({ ...partition, topic: name })),
  );
}

/** Gives a partition of each topic to these brokers, the leader being one of them. */
async function reassign(stack: Stack, partition: number, replicas: number[]): Promise<void> {
  const topics = eventTopics.map((topic) => ({
    topic,
    partitionAssignment: [{ partition, replicas }],
  }));
  await withAdmin(stack.kafka, (admin) => admin.alterPartitionReassignments({ topics }));
}
