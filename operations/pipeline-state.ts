/** State of the pipeline: the collector's consumer lag, and the running processes. */
import type { Client } from '@temporalio/client';
import { eventTopics } from '../events/topics';
import { withTimeout } from '../platform/process/waiting';
import type { KafkaClient } from '../platform/kafka/client';
import { countMembers } from '../platform/kafka/consumer-group';
import { readConsumerLag, type PartitionLag } from '../platform/kafka/consumer-lag';
import { taskQueues } from '../events/workflow-names';
import { shareReading } from '../platform/process/shared-reading';

/** A kind of process, and how many of it are running. */
interface ProcessState {
  readonly name: 'worker:commerce' | 'worker:collector' | 'bridge';
  /** Undefined when Temporal or Kafka, which knows, is unavailable. */
  readonly running: number | undefined;
}

/** Reads the state. */
export interface PipelineState {
  /** Consumer lag of the collector by partition. @throws when Kafka is unavailable */
  readLag(): Promise<PartitionLag[]>;
  /**
   * Processes that poll for work. Killed workers are counted for up to 90 s, since Temporal keeps
   * their pollers that long.
   */
  readProcesses(): Promise<ProcessState[]>;
}

/** What reading the state needs. */
export interface PipelineStateDependencies {
  readonly kafka: KafkaClient;
  readonly temporal: Client;
  /** The collector's consumer group. */
  readonly groupId: string;
}

// Any number of dashboards share one query.
const freshForMs = 1_000;
const answerWithinMs = 3_000;

/** Reads from Kafka and Temporal. */
export function createPipelineState(dependencies: PipelineStateDependencies): PipelineState {
  const { kafka, groupId } = dependencies;
  const readLag = shareReading(freshForMs, () => readConsumerLag(kafka, groupId, eventTopics));
  const readMembers = shareReading(freshForMs, () => countMembers(kafka, groupId));
  return {
    readLag: () => withTimeout(readLag(), answerWithinMs),

    async readProcesses() {
      const { temporal } = dependencies;
      return Promise.all([
        stateOf('worker:commerce', countWorkers(temporal, taskQueues.commerce)),
        stateOf('worker:collector', countWorkers(temporal, taskQueues.collector)),
        stateOf('bridge', readMembers()),
      ]);
    },
  };
}

async function stateOf(name: ProcessState['name'], count: Promise<number>): Promise<ProcessState> {
  // /readyz reports the outage itself.
  return { name, running: await withTimeout(count, answerWithinMs).catch(() => undefined) };
}

// A worker's poll lasts up to a minute.
const asksWithinMs = 90_000;
const workflowTasks = 1;

async function countWorkers(temporal: Client, taskQueue: string): Promise<number> {
  const { pollers } = await temporal.withDeadline(Date.now() + answerWithinMs, () =>
    temporal.workflowService.describeTaskQueue({
      namespace: temporal.options.namespace,
      taskQueue: { name: taskQueue },
      taskQueueType: workflowTasks,
    }),
  );
  const atWork = pollers.filter(({ lastAccessTime }) => {
    const seconds = Number(lastAccessTime?.seconds ?? 0);
    return Date.now() - seconds * 1_000 < asksWithinMs;
  });
  return new Set(atWork.map(({ identity }) => identity)).size;
}
