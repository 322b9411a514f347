/**
 * A member of a consumer group that receives record batches whole, and commits by hand. At a rebalance it
 * keeps what it has (`sticky-assignment.ts`), and it is never assigned a partition without a leader. It does
 * not survive every failure: whoever started it joins again with a new one.
 */
import type { Consumer, EachBatchPayload } from 'kafkajs';
import type { Logger } from '../observability/logger';
import { resultWithin } from '../process/waiting';
import { watchConsumer, type ConsumerWatch } from './consumer-watchdog';
import { kafkajsOf, type KafkaClient } from './kafkajs';
import { assignPartitionsWithLeader } from './led-partitions';
import { batchOf, fetchWholeBatches, type OutOfRange } from './protocol';
import type { FetchedBatch } from './record-batch';
import { createStickyAssignment } from './sticky-assignment';

/** What was fetched of one partition. */
export interface Fetched {
  readonly topic: string;
  readonly partition: number;
  /** The requested offset; the first batch may begin before it. */
  readonly from: number;
  /** In their order; an offset that the log does not have stands for itself. */
  readonly batches: readonly (FetchedBatch | OutOfRange)[];
  /** Whether the partition is still this member's, and the consumer runs. */
  isCurrent(): boolean;
  /** Tells the group that this member lives. @throws when the partitions are being shared out anew */
  heartbeat(): Promise<void>;
  /** Fetches nothing of the partition until the returned function is called, or `hold` is. */
  pause(): () => void;
  /** Commits: the group goes on at this offset. @throws when the partition is not this member's any more */
  commit(next: number): Promise<void>;
}

export interface BatchConsumerOptions {
  readonly groupId: string;
  readonly topics: readonly string[];
  /** After how many ms without a heartbeat the group gives up on a member. */
  readonly sessionTimeoutMs: number;
  /** After how many ms without a completed fetch the consumer counts as stalled. */
  readonly stallTimeoutMs: number;
  /**
   * How soon, in ms, a member notices that another comes or goes: the group waits for the last to notice.
   * No heartbeat is sent while a fetch waits for messages, so a fetch waits no longer than that.
   */
  readonly noticeMs: number;
  /** Of how many partitions what was fetched is handled side by side. */
  readonly partitionsAtOnce: number;
  /** Handles what was fetched; what it does not commit is fetched again, once all partitions are done. */
  readonly handle: (fetched: Fetched) => Promise<void>;
}

/** Partitions that are not to be fetched; null for all of them, and for all topics. */
interface HeldPartitions {
  readonly topic: string | null;
  readonly partition: number | null;
}

/** A consumer that has not joined its group yet. */
export interface BatchConsumer {
  /** Rejects when the consumer has stopped for good or stalled. Never resolves. */
  readonly failure: Promise<never>;
  /** Connects, joins the group and begins to fetch. */
  start(): Promise<void>;
  /** Fetches nothing of what is held, and all else, whatever is assigned later. @throws while it is not started */
  hold(held: readonly HeldPartitions[]): void;
  /** Waits for what is being handled, and leaves the group; abandons a consumer that hangs. */
  stop(): Promise<void>;
}

export function createBatchConsumer(
  kafka: KafkaClient,
  logger: Logger,
  options: BatchConsumerOptions,
): BatchConsumer {
  fetchWholeBatches();
  const consumer = memberOf(kafka, options);
  const health = watchConsumer(consumer, options.stallTimeoutMs);
  return {
    failure: health.failure,
    start: () => run(consumer, health, options),
    hold(held) {
      pauseWhatIsHeld(consumer, options.topics, held);
    },
    async stop() {
      health.stop();
      await disconnectInTime(consumer, logger);
    },
  };
}

function memberOf(
  kafka: KafkaClient,
  { groupId, sessionTimeoutMs, noticeMs }: BatchConsumerOptions,
): Consumer {
  const assignment = createStickyAssignment();
  const consumer = kafkajsOf(kafka).consumer({
    groupId,
    sessionTimeout: sessionTimeoutMs,
    // A member killed while joining delays the others for this long.
    rebalanceTimeout: 2 * sessionTimeoutMs,
    heartbeatInterval: noticeMs,
    maxWaitTimeInMs: noticeMs,
    // Added partitions are discovered this soon; kafkajs then rejoins the group.
    metadataMaxAge: 10_000,
    // The second for members of a version that does not know the first.
    partitionAssigners: [assignment.assigner, assignPartitionsWithLeader],
    allowAutoTopicCreation: false,
    retry: { retries: 5, restartOnFailure: () => Promise.resolve(false) },
  });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload: { memberAssignment } }) => {
    assignment.remember(memberAssignment);
  });
  return consumer;
}

async function run(
  consumer: Consumer,
  health: ConsumerWatch,
  { topics, partitionsAtOnce, handle }: BatchConsumerOptions,
): Promise<void> {
  await consumer.connect();
  await consumer.subscribe({ topics: [...topics], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    partitionsConsumedConcurrently: partitionsAtOnce,
    eachBatch: (payload) => health.during(() => handle(fetchedOf(payload))),
  });
}

function fetchedOf(payload: EachBatchPayload): Fetched {
  const { batch, heartbeat, pause, isRunning, isStale } = payload;
  const { resolveOffset, commitOffsetsIfNecessary } = payload;
  const { topic, partition } = batch;
  return {
    topic,
    partition,
    from: Number((batch as typeof batch & { readonly fetchedOffset: string }).fetchedOffset),
    batches: batch.messages.map(batchOf),
    isCurrent: () => isRunning() && !isStale(),
    heartbeat,
    pause,
    async commit(next) {
      resolveOffset(String(next - 1));
      const partitions = [{ partition, offset: String(next) }];
      await commitOffsetsIfNecessary({ topics: [{ topic, partitions }] });
      await heartbeat();
    },
  };
}

/**
 * kafkajs remembers what is paused for partitions that the consumer does not have, so that a rebalance changes
 * nothing. A topic is resumed first: kafkajs forgets that a whole topic is paused when one of its partitions is.
 */
function pauseWhatIsHeld(
  consumer: Consumer,
  topics: readonly string[],
  held: readonly HeldPartitions[],
): void {
  for (const topic of topics) {
    const own = held.filter((each) => each.topic === null || each.topic === topic);
    const partitions = own.flatMap(({ partition }) => (partition === null ? [] : [partition]));
    consumer.resume([{ topic }]);
    if (partitions.length < own.length) consumer.pause([{ topic }]);
    else if (partitions.length > 0) consumer.pause([{ topic, partitions }]);
  }
}

const disconnectTimeoutMs = 10_000;

// A stalled consumer may hang here, too. It is abandoned then: its session times out.
async function disconnectInTime(consumer: Consumer, logger: Logger): Promise<void> {
  const disconnected = consumer.disconnect().then(() => true);
  const inTime = await resultWithin(disconnected, disconnectTimeoutMs, false);
  if (!inTime) logger.warn('consumer disconnect timed out; abandoning it');
}
