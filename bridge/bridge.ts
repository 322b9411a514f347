/** The bridge: consumes events from Kafka and starts a workflow for each, or for a batch. */
import { availableParallelism } from 'node:os';
import type { Client } from '@temporalio/client';
import { eventTopics } from '../events/topics';
import type { KafkaClient } from '../platform/kafka/client';
import { readGroupProgress, totalLag } from '../platform/kafka/consumer-lag';
import type { ProcessContext } from '../platform/process/lifecycle';
import type { Queryable } from '../platform/postgres/pool';
import type { TopicWatch } from '../platform/kafka/topic-watch';
import { watchConsumptionHolds } from './consumption-holds';
import { createDispatcher, type DispatchMode } from './dispatcher';
import { startEventConsumer, type EventConsumer } from './event-consumer';
import { createFinishedWork } from './finished-work';
import { startHeartbeat } from './heartbeat';
import { createInFlight } from './in-flight';
import { createLagGrowth } from './lag-growth';
import { watchLag } from './lag-watch';
import { createOverdueWork } from './overdue-work';
import { createRecreatedTopicWatch } from './recreated-topics';
import { createRateLimiter, createTopicRates } from './rate-limiter';
import { createRepeatCounter } from './repeats';
import { startReplays } from './replays';
import { maxBatchEvents } from './start-queue';
import { createWorkflowLookup } from './workflow-lookup';
import { createWorkflowStarter } from './workflow-starter';

/** Dependencies of the bridge. It closes none of them. */
export interface BridgeDependencies {
  readonly kafka: KafkaClient;
  /** Reads what is done and what operators hold, counts repeats, and notes how far replays are. */
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

/**
 * The slots of a bridge, by the processors of its machine: as many as keep a worker on as many processors
 * busy, and leave the shop, on the same Temporal, its turn. Measured in docs/decisions/0023-one-queue.md.
 */
export function defaultSlots(mode: DispatchMode, processors = availableParallelism()): number {
  return mode === 'coalesce' ? processors + 1 : 2 * processors;
}

/** A running bridge. */
export type Bridge = Pick<EventConsumer, 'hasJoined'>;

/** Runs a bridge until the process stops. */
export function startBridge(
  { config, logger, onStop }: Pick<ProcessContext, 'config' | 'logger' | 'onStop'>,
  { kafka, database, client, topics, eagerStart }: BridgeDependencies,
): Bridge {
  const finishedWork = createFinishedWork(database);
  const limit = config.BRIDGE_MAX_IN_FLIGHT ?? defaultSlots(config.BRIDGE_MODE);
  const starter = createWorkflowStarter({ client, logger }, { eagerStart });
  const hasEnded = createWorkflowLookup(client);
  const overdueWork = createOverdueWork({ hasEnded, starter, finishedWork, logger });
  const inFlight = createInFlight({ finishedWork, overdueWork, logger }, { limit });
  const dispatcher = createDispatcher(
    { starter, inFlight, finishedWork, repeats: createRepeatCounter(database, logger), logger },
    config.BRIDGE_MODE,
  );
  const groupId = config.BRIDGE_GROUP_ID;
  const holds = watchConsumptionHolds({ database, logger });
  const rateLimiter = createRateLimiter(() => holds.limit(null));
  const topicRates = createTopicRates(holds.limit);
  const consumer = startEventConsumer(
    { kafka, dispatcher, topics, holds, rateLimiter, topicRates, logger },
    { groupId },
  );
  const recreatedTopics = createRecreatedTopicWatch();
  const lagGrowth = createLagGrowth();
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
    // What operators hold or bound grows because they do.
    const isBounded = holds.limit(null) !== undefined;
    const free = progress.partitions.filter(
      (each) => !isBounded && !holds.isHeld(each) && holds.limit(each.topic) === undefined,
    );
    const lag = totalLag(free);
    if (lagGrowth.observe(lag, Date.now()) && config.BRIDGE_MODE === 'per-event') {
      logger.warn({ lag }, lagGrowsPerEvent);
    }
    return progress;
  };
  const lag = watchLag(readProgress, logger, { isHeld: holds.isHeld });
  const replays = startReplays({ kafka, database, dispatcher, logger });
  const heartbeat = startHeartbeat({
    database,
    logger,
    mode: config.BRIDGE_MODE,
    lagGrowsSince: lagGrowth.since,
  });
  onStop('the heartbeat', () => heartbeat.stop());
  onStop('the watch of what is held', () => holds.stop());
  onStop('the lag watch', () => lag.stop());
  onStop('the replays', () => replays.stop());
  onStop('the consumer', () => consumer.stop());
  return consumer;
}

const lagGrowsPerEvent = `consumer lag grows, with a workflow for each event; BRIDGE_MODE=coalesce gives a backlog one workflow for up to ${maxBatchEvents} events`;
