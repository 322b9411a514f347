/** The bridge: consumes events from Kafka and starts a workflow for each, or for a batch. */
import type { Client } from '@temporalio/client';
import type { Kafka } from 'kafkajs';
import { eventTopics } from '../events/topics';
import { readGroupProgress } from '../platform/kafka/consumer-lag';
import type { ProcessContext } from '../platform/process/lifecycle';
import type { Queryable } from '../platform/postgres/pool';
import type { TopicWatch } from '../platform/kafka/topic-watch';
import { createCoalescingDispatcher, createPerEventDispatcher } from './dispatcher';
import { startEventConsumer, type EventConsumer } from './event-consumer';
import { createFinishedWork } from './finished-work';
import { createInFlight } from './in-flight';
import { watchLag } from './lag-watch';
import { createRecreatedTopicWatch } from './recreated-topics';
import { createWorkflowStarter } from './workflow-starter';

/** Dependencies of the bridge. It closes none of them. */
export interface BridgeDependencies {
  readonly kafka: Kafka;
  /** Read access to `collector.event_handled`. */
  readonly database: Queryable;
  readonly client: Client;
  /** The watch over the event topics. */
  readonly topics: TopicWatch;
  /**
   * Eager start: whether Temporal may return a workflow's first task with the response to its start.
   * The client must share the connection of a worker for the same task queue.
   */
  readonly eagerStart: boolean;
}

// A slot is a workflow of one event, or of up to 500: fewer of the latter keep the worker as busy. With
// 4, 8, 16 and 32 of them a backlog was processed at 5,069, 6,858, 6,220 and 4,423 events/s (the
// coalescing side of `npm run bench -- catch-up`, medians of three rounds that differed by up to half).
const defaultMaxInFlight = { 'per-event': 200, coalesce: 16 } as const;

/** A running bridge. */
export type Bridge = Pick<EventConsumer, 'hasJoined'>;

/** Runs a bridge until the process stops. */
export function startBridge(
  { config, logger, onStop }: Pick<ProcessContext, 'config' | 'logger' | 'onStop'>,
  { kafka, database, client, topics, eagerStart }: BridgeDependencies,
): Bridge {
  const finishedWork = createFinishedWork(database);
  const limit = config.BRIDGE_MAX_IN_FLIGHT ?? defaultMaxInFlight[config.BRIDGE_MODE];
  const inFlight = createInFlight(finishedWork, logger, { limit });
  const starter = createWorkflowStarter({ client, logger }, { eagerStart });
  const createDispatcher =
    config.BRIDGE_MODE === 'coalesce' ? createCoalescingDispatcher : createPerEventDispatcher;
  const dispatcher = createDispatcher({ starter, inFlight, finishedWork, logger });
  const groupId = config.BRIDGE_GROUP_ID;
  const consumer = startEventConsumer({ kafka, dispatcher, topics, logger }, { groupId });
  const recreatedTopics = createRecreatedTopicWatch();
  const readProgress = async () => {
    const progress = await readGroupProgress(kafka, groupId, eventTopics);
    const recreated = recreatedTopics.observe(progress.partitions);
    if (recreated.length > 0) {
      logger.warn(
        { topics: recreated },
        'topics recreated or truncated; consuming from their start',
      );
      consumer.restart();
    }
    return progress;
  };
  const lag = watchLag(readProgress, logger);
  onStop('the lag watch', () => lag.stop());
  onStop('the consumer', () => consumer.stop());
  return consumer;
}
