/**
 * The Kafka consumer, at-least-once: reads the available topics in slices and commits a slice's offset
 * only after Temporal has acknowledged the workflow of each of its messages. A crash causes redelivery,
 * never loss. What an operator holds is not fetched; a slice that was taken before is handled and committed.
 */
import { eventTopics, partitionsPerTopic } from '../events/topics';
import { withLinkedSignal } from '../platform/process/abort';
import { pause, resultWithin } from '../platform/process/waiting';
import { createBatchConsumer, type Fetched } from '../platform/kafka/batch-consumer';
import type { KafkaClient } from '../platform/kafka/client';
import { readPartitionLogs } from '../platform/kafka/partition-log';
import type { FetchedBatch } from '../platform/kafka/record-batch';
import type { Logger } from '../platform/observability/logger';
import { consumersReplaced } from '../platform/observability/telemetry';
import type { TopicWatch } from '../platform/kafka/topic-watch';
import type { ConsumptionHolds } from './consumption-holds';
import type { Dispatcher } from './dispatcher';
import { excludeForbidden, subscribeToReadable } from './topic-availability';
import { decompressedSlices } from './decompressed-slices';
import { createPause, type Pause } from './pause';
import type { RateLimiter, TopicRates } from './rate-limiter';
import type { PartitionMessage } from './workflow-plan';

export interface EventConsumerDependencies {
  readonly kafka: KafkaClient;
  readonly dispatcher: Dispatcher;
  /** Reports which topics are available. */
  readonly topics: TopicWatch;
  /** Reports what operators hold. */
  readonly holds: ConsumptionHolds;
  /** Bounds the rate of everything. */
  readonly rateLimiter: RateLimiter;
  /** Bounds the rate of each topic. */
  readonly topicRates: TopicRates;
  readonly logger: Logger;
}

export interface EventConsumerOptions {
  readonly groupId: string;
  /** Session timeout of the consumer group, in ms. */
  readonly sessionTimeoutMs?: number;
  /** Stall timeout: after how many ms without a completed fetch the consumer is replaced. */
  readonly stallTimeoutMs?: number;
  /**
   * How long a partition's fetched messages are handled before the others get their turn, in ms. The
   * client fetches from a broker again only when every partition of its last fetch is done, so that one long
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

/** How soon a member notices that another comes or goes, in ms. */
const noticeMs = 100;

// The client recovers from most crashes, but stops for good after some.
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

/** Runs one consumer until told to stop. @throws the error that stopped the consumer */
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
  const throttled = createPause('throttled');
  const consumer = createBatchConsumer(kafka, logger, {
    groupId,
    topics,
    sessionTimeoutMs,
    stallTimeoutMs,
    noticeMs,
    partitionsAtOnce: eventTopics.length * partitionsPerTopic,
    handle: (fetched) => handleFetched(fetched, { ...dependencies, throttled, stop, turnMs }),
  });
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
    await consumer.start();
    const showHolds = (): void => consumer.hold(holds.current());
    // A consumer that has crashed while it joined cannot be paused: its own error says more.
    await Promise.race([consumer.failure, Promise.resolve().then(showHolds)]);
    holds.onChange(showHolds, over.signal);
    logger.info({ groupId, topics }, 'consuming');
    current.hasJoined = true;
    await Promise.race([stopped, consumer.failure, outdated, ended]);
  } finally {
    over.abort();
    subscription.end();
    await consumer.stop();
  }
}

interface BatchContext extends EventConsumerDependencies {
  /** Shown while a partition waits for the rate of its topic. */
  readonly throttled: Pause;
  readonly stop: AbortSignal;
  readonly turnMs: number;
}

/**
 * Handles the fetched batches of a partition slice by slice, and commits each slice. What is left after
 * its turn is fetched again.
 */
async function handleFetched(fetched: Fetched, context: BatchContext): Promise<void> {
  const { topic, partition } = fetched;
  // Fetched before it was held: fetched again once it is not.
  if (context.holds.isHeld({ topic, partition })) return;
  const batches: FetchedBatch[] = [];
  for (const batch of fetched.batches) {
    if ('kind' in batch) {
      await goOnBehindTheGap(fetched, batch.offset, context);
      return;
    }
    batches.push(batch);
  }
  const turnEndsAt = performance.now() + context.turnMs;
  const ofTopic = context.topicRates(topic);
  const sliceSize = context.rateLimiter.sliceSize(ofTopic.sliceSize(context.dispatcher.sliceSize));
  for await (const slice of decompressedSlices(batches, fetched.from, sliceSize)) {
    if (!fetched.isCurrent() || context.stop.aborted) return;
    if (context.holds.isHeld({ topic, partition })) return;
    const received = slice.entries.map((entry) => ({ topic, partition, entry }));
    // Sliced before the rate was bounded: fetched again, in slices that the bound allows.
    if (received.length > ofTopic.sliceSize(received.length)) return;
    const waitMs = received.length === 0 ? 0 : ofTopic.take(partition, received.length);
    if (waitMs > 0) {
      fetchLater(fetched, waitMs, context);
      return;
    }
    const committed = await handleSlice(fetched, received, slice.next, context);
    if (!committed || performance.now() > turnEndsAt) return;
  }
}

/**
 * Has the consumer fetch nothing of a partition for a while. It is not waited for where it is handled: the other
 * partitions of its fetch, of whatever topic, would wait, too.
 */
function fetchLater(
  fetched: Fetched,
  waitMs: number,
  { holds, throttled, stop }: BatchContext,
): void {
  const resume = fetched.pause();
  void throttled.during(async () => {
    await pause(waitMs, stop);
    // Held meanwhile: it is resumed by whoever ends that. A changed bound resumes all partitions at once.
    if (!holds.isHeld(fetched)) resume();
  });
}

/** @returns whether the slice was committed; otherwise it is redelivered */
async function handleSlice(
  fetched: Fetched,
  received: readonly PartitionMessage[],
  next: number,
  { dispatcher, holds, rateLimiter, stop }: BatchContext,
): Promise<boolean> {
  try {
    if (received.length > 0) {
      const isTaken = await withHeartbeats(fetched, stop, async (signal) => {
        if (!(await rateLimiter.take(received.length, signal))) return false;
        if (holds.isHeld(fetched)) return false;
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
  await fetched.commit(next);
  return true;
}

/**
 * The next offset is out of range: its messages were deleted before they were read, or the log was
 * truncated or recreated. Records the lost offsets and continues at the start of the log.
 */
async function goOnBehindTheGap(
  fetched: Fetched,
  from: number,
  { kafka, dispatcher, logger, stop }: BatchContext,
): Promise<void> {
  const { topic, partition } = fetched;
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
  await withHeartbeats(fetched, stop, (signal) => dispatcher.recordVanished(vanished, signal));
  await fetched.commit(start);
}

/**
 * Runs `work` with heartbeats to the group. When the partition is revoked or the process stops, the
 * work is aborted; starts in progress still finish before this returns.
 */
async function withHeartbeats<Result>(
  { heartbeat }: Pick<Fetched, 'heartbeat'>,
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
