/**
 * The Kafka consumer: reads the topics that can be read in slices and commits a slice's offset only when Temporal
 * has acknowledged the workflow of each of its messages. A crash anywhere means that messages come
 * again, never that one is left out.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Consumer, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs';
import { eventTopics, partitionsPerTopic } from '../events/topics';
import type { Logger } from '../platform/logger';
import type { TopicWatch } from '../platform/topic-watch';
import { watchConsumer } from './consumer-watchdog';
import type { Dispatcher } from './dispatcher';
import { assignLed, leaveOutRefused, subscribeToReadable } from './topic-availability';

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
  const stopping = new AbortController();
  const running = consumeUntil(stopping.signal, dependencies, options);
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

const replaceAfterMs = 1_000;
const heartbeatMs = 1_000;

// kafkajs tries again by itself after most crashes, but stops for good after some.
async function consumeUntil(
  stop: AbortSignal,
  dependencies: EventConsumerDependencies,
  options: EventConsumerOptions,
): Promise<void> {
  while (!stop.aborted) {
    try {
      await consumeOnce(stop, dependencies, options);
    } catch (error) {
      if (stop.aborted) return;
      leaveOutRefused(dependencies.topics, error);
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
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: eventTopics.length * partitionsPerTopic,
      eachBatch: (payload) => health.during(() => handleBatch(payload, { dispatcher, stop })),
    });
    logger.info({ groupId, topics }, 'consuming');
    await Promise.race([stopped, health.failure, outdated]);
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

interface BatchContext {
  readonly dispatcher: Dispatcher;
  readonly stop: AbortSignal;
}

async function handleBatch(
  payload: EachBatchPayload,
  { dispatcher, stop }: BatchContext,
): Promise<void> {
  const { batch, resolveOffset, commitOffsetsIfNecessary, heartbeat, isRunning, isStale } = payload;
  const { topic, partition, messages } = batch;
  for (let from = 0; from < messages.length; from += dispatcher.sliceSize) {
    if (!isRunning() || isStale() || stop.aborted) return;
    const slice = messages.slice(from, from + dispatcher.sliceSize);
    const received = slice.map((message) => ({ topic, partition, message }));
    try {
      await whileBeating(payload, stop, (signal) => dispatcher.dispatch(received, signal));
    } catch (error) {
      // Asked to stop: what was not started is not committed, and comes again.
      if (stop.aborted) return;
      throw error;
    }
    const last = slice.at(-1)!;
    resolveOffset(last.offset);
    await commitOffsetsIfNecessary(offsetAfter(payload, last, messages));
    await heartbeat();
  }
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
  const abort = new AbortController();
  const working = work(AbortSignal.any([abort.signal, stop]));
  const settled = working.then(
    () => true,
    () => true,
  );
  try {
    while (!(await Promise.race([settled, sleep(heartbeatMs, false)]))) await heartbeat();
  } catch (error) {
    abort.abort();
    await settled;
    throw error;
  }
  await working;
}

// After the last message of a batch comes what kafkajs filtered out: a transaction's control records.
function offsetAfter(
  { batch }: EachBatchPayload,
  last: KafkaMessage,
  messages: readonly KafkaMessage[],
) {
  const { topic, partition } = batch;
  const reached = last === messages.at(-1) ? batch.lastOffset() : last.offset;
  const offset = (BigInt(reached) + 1n).toString();
  return { topics: [{ topic, partitions: [{ partition, offset }] }] };
}
