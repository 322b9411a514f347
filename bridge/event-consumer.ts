/**
 * The Kafka consumer: reads both topics in slices and commits a slice's offset only when Temporal
 * has acknowledged the workflow of each of its messages. A crash anywhere means that messages come
 * again, never that one is left out.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Consumer, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs';
import { eventTopics, partitionsPerTopic } from '../events/topics';
import type { Logger } from '../platform/logger';
import { planParking, planWorkflow, type PartitionMessage } from './workflow-plan';
import { StartRefusedError, type WorkflowStarter } from './workflow-starter';

/** What the consumer needs. */
export interface EventConsumerDependencies {
  readonly kafka: Kafka;
  readonly starter: WorkflowStarter;
  readonly logger: Logger;
}

/** Options of the consumer. */
export interface EventConsumerOptions {
  readonly groupId: string;
  /** Most messages between two commits of a partition. */
  readonly sliceSize?: number;
  /** After how many ms without a heartbeat the group gives this member's partitions to others. */
  readonly sessionTimeoutMs?: number;
}

/** A running consumer. */
export interface EventConsumer {
  /** Finishes the slices under way, commits them and leaves the group. */
  stop(): Promise<void>;
}

/** Starts consuming; whenever the consumer stops by itself, another takes its place. */
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
      dependencies.logger.warn({ err: error }, 'the consumer stopped; another will take its place');
      await sleep(replaceAfterMs, undefined, { signal: stop }).catch(() => undefined);
    }
  }
}

/** Consumes with one kafkajs consumer until asked to stop. @throws what made the consumer stop */
async function consumeOnce(
  stop: AbortSignal,
  { kafka, starter, logger }: EventConsumerDependencies,
  { groupId, sliceSize = 100, sessionTimeoutMs = 10_000 }: EventConsumerOptions,
): Promise<void> {
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: sessionTimeoutMs,
    heartbeatInterval: heartbeatMs,
    maxWaitTimeInMs: 500,
    allowAutoTopicCreation: false,
    retry: { retries: 5, restartOnFailure: () => Promise.resolve(false) },
  });
  const ended = endOf(consumer, stop);
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...eventTopics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: eventTopics.length * partitionsPerTopic,
      eachBatch: (payload) => handleBatch(payload, { starter, logger, sliceSize, stop }),
    });
    logger.info({ groupId, topics: eventTopics }, 'consuming');
    await ended;
  } finally {
    await consumer.disconnect();
  }
}

/** Resolves when asked to stop, rejects when the consumer has stopped by itself. */
function endOf(consumer: Consumer, stop: AbortSignal): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    stop.addEventListener('abort', () => {
      resolve();
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      reject(payload.error);
    });
  });
  // It may reject while the consumer is still connecting, before anybody waits for it.
  ended.catch(() => undefined);
  return ended;
}

interface BatchContext {
  readonly starter: WorkflowStarter;
  readonly logger: Logger;
  readonly sliceSize: number;
  readonly stop: AbortSignal;
}

async function handleBatch(payload: EachBatchPayload, context: BatchContext): Promise<void> {
  const { batch, resolveOffset, commitOffsetsIfNecessary, heartbeat, isRunning, isStale } = payload;
  const { topic, partition, messages } = batch;
  for (let from = 0; from < messages.length; from += context.sliceSize) {
    if (!isRunning() || isStale() || context.stop.aborted) return;
    const slice = messages.slice(from, from + context.sliceSize);
    const received = slice.map((message) => ({ topic, partition, message }));
    try {
      await whileBeating(payload, context.stop, (signal) => startAll(received, context, signal));
    } catch (error) {
      // Asked to stop: what was not started is not committed, and comes again.
      if (context.stop.aborted) return;
      throw error;
    }
    const last = slice.at(-1)!;
    resolveOffset(last.offset);
    await commitOffsetsIfNecessary(offsetAfter(payload, last, messages));
    await heartbeat();
  }
}

// Waits for all, also when one fails: no start is under way any more when the partition is given up.
async function startAll(
  slice: readonly PartitionMessage[],
  context: BatchContext,
  signal: AbortSignal,
): Promise<void> {
  const results = await Promise.allSettled(
    slice.map((received) => startOne(received, context, signal)),
  );
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function startOne(
  received: PartitionMessage,
  { starter, logger }: BatchContext,
  signal: AbortSignal,
): Promise<void> {
  try {
    await starter.start(planWorkflow(received), signal);
  } catch (error) {
    if (!(error instanceof StartRefusedError)) throw error;
    logger.error({ err: error, offset: received.message.offset }, 'an event is parked instead');
    const why = { reason: error.code, detail: error.message };
    await starter.start(planParking(received, why), signal);
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
