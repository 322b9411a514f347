/**
 * The Kafka consumer: reads the topics that can be read in slices and commits a slice's offset only when Temporal
 * has acknowledged the workflow of each of its messages. A crash anywhere means that messages come
 * again, never that one is left out.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import { eventTopics, partitionsPerTopic } from '../events/topics';
import { withLinkedSignal } from '../platform/process/abort';
import { readPartitionLogs } from '../platform/kafka/partition-log';
import { batchOf, fetchWholeBatches } from '../platform/kafka/protocol';
import type { FetchedBatch } from '../platform/kafka/record-batch';
import type { Logger } from '../platform/observability/logger';
import { consumersReplaced } from '../platform/observability/telemetry';
import type { TopicWatch } from '../platform/kafka/topic-watch';
import { watchConsumer } from './consumer-watchdog';
import type { Dispatcher } from './dispatcher';
import { assignLed, leaveOutRefused, subscribeToReadable } from './topic-availability';
import { decompressedSlices } from './decompressed-slices';
import type { PartitionMessage } from './workflow-plan';

/** What the consumer needs. */
export interface EventConsumerDependencies {
  readonly kafka: Kafka;
  readonly dispatcher: Dispatcher;
  /** Says which of the topics can be read. */
  readonly topics: TopicWatch;
  readonly logger: Logger;
}

/** Options of the consumer. */
export interface EventConsumerOptions {
  readonly groupId: string;
  /** After how many ms without a heartbeat the group gives this member's partitions to others. */
  readonly sessionTimeoutMs?: number;
  /** After how many ms without a fetch that came back the consumer is replaced. */
  readonly stallTimeoutMs?: number;
}

/** A running consumer. */
export interface EventConsumer {
  /**
   * Lets another consumer take this one's place, which begins where the group has committed: this one
   * reads on where the log is not the one that it was.
   */
  beginAnew(): void;
  /** Finishes the slices under way, commits them and leaves the group. */
  stop(): Promise<void>;
}

/**
 * Starts consuming; whenever the consumer stops by itself, or other topics can be read than it has
 * subscribed to, another takes its place.
 */
export function startEventConsumer(
  dependencies: EventConsumerDependencies,
  options: EventConsumerOptions,
): EventConsumer {
  fetchWholeBatches();
  const stopping = new AbortController();
  const current: CurrentConsumer = { end: () => undefined };
  const running = consumeUntil(stopping.signal, dependencies, options, current);
  return {
    beginAnew() {
      current.end();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** The consumer that is running now. */
interface CurrentConsumer {
  end: () => void;
}

const replaceAfterMs = 1_000;
const heartbeatMs = 1_000;

// kafkajs tries again by itself after most crashes, but stops for good after some.
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
      leaveOutRefused(dependencies.topics, error);
      consumersReplaced.inc();
      dependencies.logger.warn({ err: error }, 'the consumer stopped; another will take its place');
      await sleep(replaceAfterMs, undefined, { signal: stop }).catch(() => undefined);
    }
  }
}

/** Consumes with one kafkajs consumer until asked to stop. @throws what made the consumer stop */
async function consumeOnce(
  stop: AbortSignal,
  { kafka, dispatcher, topics: watch, logger }: EventConsumerDependencies,
  { groupId, sessionTimeoutMs = 6_000, stallTimeoutMs = 30_000 }: EventConsumerOptions,
  current: CurrentConsumer,
): Promise<void> {
  const subscription = await subscribeToReadable(watch, stop);
  const { topics, outdated } = subscription;
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: sessionTimeoutMs,
    // A member that was killed while it joined holds up the others for so long.
    rebalanceTimeout: 2 * sessionTimeoutMs,
    heartbeatInterval: heartbeatMs,
    maxWaitTimeInMs: 500,
    // So soon partitions that were added are read; kafkajs then joins the group again.
    metadataMaxAge: 10_000,
    partitionAssigners: [assignLed],
    allowAutoTopicCreation: false,
    retry: { retries: 5, restartOnFailure: () => Promise.resolve(false) },
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
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: eventTopics.length * partitionsPerTopic,
      eachBatch: (payload) =>
        health.during(() => handleFetched(payload, { kafka, dispatcher, logger, stop })),
    });
    logger.info({ groupId, topics }, 'consuming');
    await Promise.race([stopped, health.failure, outdated, ended]);
  } finally {
    subscription.end();
    health.stop();
    await disconnectInTime(consumer, logger);
  }
}

const disconnectTimeoutMs = 10_000;

// A consumer that hangs may hang here too. It is left alone then: its session ends without it.
async function disconnectInTime(consumer: Consumer, logger: Logger): Promise<void> {
  const disconnected = consumer.disconnect().then(() => true);
  const inTime = await Promise.race([disconnected, sleep(disconnectTimeoutMs, false)]);
  if (!inTime) logger.warn('the consumer did not disconnect in time; it is left alone');
}

interface BatchContext extends Pick<EventConsumerDependencies, 'kafka' | 'dispatcher' | 'logger'> {
  readonly stop: AbortSignal;
}

/** Handles what a fetch has brought of one partition, slice by slice, and commits each slice. */
async function handleFetched(payload: EachBatchPayload, context: BatchContext): Promise<void> {
  const { batch, isRunning, isStale } = payload;
  const { topic, partition } = batch;
  const batches: FetchedBatch[] = [];
  for (const fetched of batch.messages.map(batchOf)) {
    if ('kind' in fetched) {
      await goOnBehindTheGap(payload, fetched.offset, context);
      return;
    }
    batches.push(fetched);
  }
  // The first batch may begin before the offset that was asked for.
  const from = Number((batch as typeof batch & { readonly fetchedOffset: string }).fetchedOffset);
  for await (const slice of decompressedSlices(batches, from, context.dispatcher.sliceSize)) {
    if (!isRunning() || isStale() || context.stop.aborted) return;
    const received = slice.entries.map((entry) => ({ topic, partition, entry }));
    const committed = await handleSlice(payload, received, slice.next, context);
    if (!committed) return;
  }
}

/** @returns whether the slice was handed over and committed; otherwise it comes again */
async function handleSlice(
  payload: EachBatchPayload,
  received: readonly PartitionMessage[],
  next: number,
  { dispatcher, stop }: BatchContext,
): Promise<boolean> {
  try {
    if (received.length > 0) {
      await whileBeating(payload, stop, (signal) => dispatcher.dispatch(received, signal));
    }
  } catch (error) {
    // Asked to stop: what was not started is not committed, and comes again.
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
 * The log does not have the offset that is next: it was deleted before it was read, or the log was cut
 * or made anew. That is put on record, and what there is is read from where it begins.
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
  // Meanwhile there again: an offset just behind the end is where the next message will be.
  if (from >= start && from <= end) return;
  const vanished =
    from < start
      ? ({ topic, partition, from, to: start - 1, reason: 'RETENTION' } as const)
      : ({ topic, partition, from, reason: 'TOPIC_MADE_ANEW' } as const);
  logger.warn(
    { ...vanished, start, end },
    'offsets vanished before they were read; reading on from the first that is there',
  );
  await whileBeating(payload, stop, (signal) => dispatcher.recordVanished(vanished, signal));
  await commit(payload, start);
}

/**
 * Runs `work` and keeps this member in its group meanwhile. When the group takes the partition away,
 * or the process stops, the work is aborted; starts under way still finish before this returns.
 */
async function whileBeating(
  { heartbeat }: Pick<EachBatchPayload, 'heartbeat'>,
  stop: AbortSignal,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await withLinkedSignal(stop, async (linked) => {
    const working = work(linked.signal);
    const settled = working.then(
      () => true,
      () => true,
    );
    try {
      while (!(await Promise.race([settled, sleep(heartbeatMs, false)]))) await heartbeat();
    } catch (error) {
      linked.abort();
      await settled;
      throw error;
    }
    await working;
  });
}
