/**
 * The Kafka consumer, at-least-once: reads the available topics in slices and commits a slice's offset
 * only after Temporal has acknowledged the workflow of each of its messages. A crash causes redelivery,
 * never loss. What an operator holds is not fetched; a slice that was taken before is handled and committed.
 */
import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import { eventTopics, partitionsPerTopic } from '../events/topics';
import { withLinkedSignal } from '../platform/process/abort';
import { pause, resultWithin } from '../platform/process/waiting';
import { readPartitionLogs } from '../platform/kafka/partition-log';
import { batchOf, fetchWholeBatches } from '../platform/kafka/protocol';
import type { FetchedBatch } from '../platform/kafka/record-batch';
import type { Logger } from '../platform/observability/logger';
import { consumersReplaced } from '../platform/observability/telemetry';
import type { TopicWatch } from '../platform/kafka/topic-watch';
import { watchConsumer } from './consumer-watchdog';
import type { ConsumptionHold, ConsumptionHolds } from './consumption-holds';
import type { Dispatcher } from './dispatcher';
import {
  assignPartitionsWithLeader,
  excludeForbidden,
  subscribeToReadable,
} from './topic-availability';
import { decompressedSlices } from './decompressed-slices';
import type { RateLimiter } from './rate-limiter';
import { createStickyAssignment } from './sticky-assignment';
import type { PartitionMessage } from './workflow-plan';

export interface EventConsumerDependencies {
  readonly kafka: Kafka;
  readonly dispatcher: Dispatcher;
  /** Reports which topics are available. */
  readonly topics: TopicWatch;
  /** Reports what operators hold. */
  readonly holds: ConsumptionHolds;
  readonly rateLimiter: RateLimiter;
  readonly logger: Logger;
}

export interface EventConsumerOptions {
  readonly groupId: string;
  /** Session timeout of the consumer group, in ms. */
  readonly sessionTimeoutMs?: number;
  /** Stall timeout: after how many ms without a completed fetch the consumer is replaced. */
  readonly stallTimeoutMs?: number;
  /**
   * How long a partition's fetched messages are handled before the others get their turn, in ms. kafkajs
   * fetches from a broker again only when every partition of its last fetch is done, so that one long
   * backlog would hold up the partitions that have caught up.
   */
  readonly turnMs?: number;
}

/** A running consumer. */
export interface EventConsumer {
  /** Whether a consumer has joined the group yet; later, only the group's progress tells of its health. */
  hasJoined(): boolean;
  /**
   * Restarts with a new consumer at the committed offsets: after a topic was recreated, the current one
   * would continue at positions of the old log.
   */
  restart(): void;
  /** Finishes and commits the slices in progress, and leaves the group. */
  stop(): Promise<void>;
}

/** Starts consuming. A consumer that stops, or whose subscription is outdated, is replaced. */
export function startEventConsumer(
  dependencies: EventConsumerDependencies,
  options: EventConsumerOptions,
): EventConsumer {
  fetchWholeBatches();
  const stopping = new AbortController();
  const current: CurrentConsumer = { hasJoined: false, end: () => undefined };
  const running = consumeUntil(stopping.signal, dependencies, options, current);
  return {
    hasJoined: () => current.hasJoined,
    restart() {
      current.end();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** The running consumer. */
interface CurrentConsumer {
  hasJoined: boolean;
  end: () => void;
}

const replaceAfterMs = 1_000;

/**
 * How soon a member notices that another comes or goes: the group waits for the last to notice. kafkajs
 * sends no heartbeat while a fetch waits for messages, so a fetch waits no longer than that.
 */
const noticeMs = 100;

// kafkajs recovers from most crashes, but stops for good after some.
async function consumeUntil(
  stop: AbortSignal,
  dependencies: EventConsumerDependencies,
  options: EventConsumerOptions,
  current: CurrentConsumer,
): Promise<void> {
  while (!stop.aborted) {
    try {
      await withLinkedSignal(stop, ({ signal }) =>
        consumeOnce(signal, dependencies, options, current),
      );
    } catch (error) {
      if (stop.aborted) return;
      excludeForbidden(dependencies.topics, error);
      consumersReplaced.inc();
      dependencies.logger.warn({ err: error }, 'consumer stopped; replacing it');
      await pause(replaceAfterMs, stop);
    }
  }
}

/** Runs one kafkajs consumer until told to stop. @throws the error that stopped the consumer */
async function consumeOnce(
  stop: AbortSignal,
  dependencies: EventConsumerDependencies,
  {
    groupId,
    sessionTimeoutMs = 6_000,
    stallTimeoutMs = 30_000,
    turnMs = 5_000,
  }: EventConsumerOptions,
  current: CurrentConsumer,
): Promise<void> {
  const { kafka, topics: watch, holds, logger } = dependencies;
  await holds.untilKnown(stop);
  const subscription = await subscribeToReadable(watch, stop);
  const { topics, outdated } = subscription;
  const assignment = createStickyAssignment();
  const consumer = kafka.consumer({
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
  const health = watchConsumer(consumer, stallTimeoutMs);
  const stopped = new Promise<void>((resolve) => {
    stop.addEventListener('abort', () => {
      resolve();
    });
  });
  const ended = new Promise<void>((resolve) => {
    current.end = resolve;
  });
  const over = new AbortController();
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: eventTopics.length * partitionsPerTopic,
      eachBatch: (payload) =>
        health.during(() => handleFetched(payload, { ...dependencies, stop, turnMs })),
    });
    const showHolds = (): void => pauseWhatIsHeld(consumer, topics, holds.current());
    // A consumer that has crashed while it joined cannot be paused: its own error says more.
    await Promise.race([health.failure, Promise.resolve().then(showHolds)]);
    holds.onChange(showHolds, over.signal);
    logger.info({ groupId, topics }, 'consuming');
    current.hasJoined = true;
    await Promise.race([stopped, health.failure, outdated, ended]);
  } finally {
    over.abort();
    subscription.end();
    health.stop();
    await disconnectInTime(consumer, logger);
  }
}

/**
 * Has the consumer fetch nothing of what is held, and all else. It remembers that for partitions that it does
 * not have, so that a rebalance changes nothing. A topic is resumed first: kafkajs forgets that a whole topic
 * is paused when one of its partitions is.
 */
function pauseWhatIsHeld(
  consumer: Consumer,
  topics: readonly string[],
  holds: readonly ConsumptionHold[],
): void {
  for (const topic of topics) {
    const own = holds.filter((hold) => hold.topic === null || hold.topic === topic);
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

interface BatchContext extends EventConsumerDependencies {
  readonly stop: AbortSignal;
  readonly turnMs: number;
}

/**
 * Handles the fetched batches of a partition slice by slice, and commits each slice. What is left after
 * its turn is fetched again.
 */
async function handleFetched(payload: EachBatchPayload, context: BatchContext): Promise<void> {
  const { batch, isRunning, isStale } = payload;
  const { topic, partition } = batch;
  // Fetched before it was held: fetched again once it is not.
  if (context.holds.isHeld({ topic, partition })) return;
  const batches: FetchedBatch[] = [];
  for (const fetched of batch.messages.map(batchOf)) {
    if ('kind' in fetched) {
      await goOnBehindTheGap(payload, fetched.offset, context);
      return;
    }
    batches.push(fetched);
  }
  const turnEndsAt = performance.now() + context.turnMs;
  // The first batch may begin before the requested offset.
  const from = Number((batch as typeof batch & { readonly fetchedOffset: string }).fetchedOffset);
  const sliceSize = context.rateLimiter.sliceSize(context.dispatcher.sliceSize);
  for await (const slice of decompressedSlices(batches, from, sliceSize)) {
    if (!isRunning() || isStale() || context.stop.aborted) return;
    if (context.holds.isHeld({ topic, partition })) return;
    const received = slice.entries.map((entry) => ({ topic, partition, entry }));
    const committed = await handleSlice(payload, received, slice.next, context);
    if (!committed || performance.now() > turnEndsAt) return;
  }
}

/** @returns whether the slice was committed; otherwise it is redelivered */
async function handleSlice(
  payload: EachBatchPayload,
  received: readonly PartitionMessage[],
  next: number,
  { dispatcher, holds, rateLimiter, stop }: BatchContext,
): Promise<boolean> {
  try {
    if (received.length > 0) {
      const isTaken = await withHeartbeats(payload, stop, async (signal) => {
        if (!(await rateLimiter.take(received.length, signal))) return false;
        if (holds.isHeld(payload.batch)) return false;
        await dispatcher.dispatch(received, signal);
        return true;
      });
      if (!isTaken) return false;
    }
  } catch (error) {
    // Stopping: what was not started is not committed, and is redelivered.
    if (stop.aborted) return false;
    throw error;
  }
  await commit(payload, next);
  return true;
}

async function commit(payload: EachBatchPayload, next: number): Promise<void> {
  const { batch, resolveOffset, commitOffsetsIfNecessary, heartbeat } = payload;
  const { topic, partition } = batch;
  resolveOffset(String(next - 1));
  const partitions = [{ partition, offset: String(next) }];
  await commitOffsetsIfNecessary({ topics: [{ topic, partitions }] });
  await heartbeat();
}

/**
 * The next offset is out of range: its messages were deleted before they were read, or the log was
 * truncated or recreated. Records the lost offsets and continues at the start of the log.
 */
async function goOnBehindTheGap(
  payload: EachBatchPayload,
  from: number,
  { kafka, dispatcher, logger, stop }: BatchContext,
): Promise<void> {
  const { topic, partition } = payload.batch;
  const [log] = await readPartitionLogs(kafka, [{ topic, partition, offset: from }]);
  if (log === undefined || 'error' in log) throw log?.error ?? new Error('no answer');
  const { start, end } = log;
  // In range again meanwhile; the end offset is where the next message will be.
  if (from >= start && from <= end) return;
  const vanished =
    from < start
      ? ({ topic, partition, from, to: start - 1, reason: 'RETENTION' } as const)
      : ({ topic, partition, from, reason: 'TOPIC_MADE_ANEW' } as const);
  logger.warn(
    { ...vanished, start, end },
    'offsets vanished before they were read; continuing at the start of the log',
  );
  await withHeartbeats(payload, stop, (signal) => dispatcher.recordVanished(vanished, signal));
  await commit(payload, start);
}

/**
 * Runs `work` with heartbeats to the group. When the partition is revoked or the process stops, the
 * work is aborted; starts in progress still finish before this returns.
 */
async function withHeartbeats<Result>(
  { heartbeat }: Pick<EachBatchPayload, 'heartbeat'>,
  stop: AbortSignal,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  return withLinkedSignal(stop, async (linked) => {
    const working = work(linked.signal);
    const settled = working.then(
      () => true,
      () => true,
    );
    try {
      while (!(await resultWithin(settled, noticeMs, false))) await heartbeat();
    } catch (error) {
      linked.abort();
      await settled;
      throw error;
    }
    return working;
  });
}
