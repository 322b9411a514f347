/** Runs a Temporal worker within a process's lifecycle. */
import { setTimeout as sleep } from 'node:timers/promises';
import { makeWorkflowExporter } from '@temporalio/interceptors-opentelemetry/lib/worker';
import {
  Worker,
  type ActivityInterceptorsFactory,
  type NativeConnection,
  type WorkerOptions,
} from '@temporalio/worker';
import type { Check } from '../platform/dependencies/readiness';
import type { ProcessContext } from '../platform/process/lifecycle';
import { serveMetrics } from '../platform/observability/prometheus-server';
import { dataConverterOf } from '../platform/temporal/payload-encryption';
import { withLeanSandbox } from '../platform/temporal/lean-sandbox/worker';
import { connectWorker, installTemporalRuntime } from '../platform/temporal/worker';
import type { ProcessKind } from '../platform/observability/telemetry';
import { createTemporalClient } from '../platform/temporal/client';
import type { RecordedTraces } from '../platform/observability/trace-recording';
import { activityInterceptors } from './activity-interceptors';
import {
  isTooEarly,
  promoteIfFirst,
  versionOf,
  workerDeploymentOf,
  type DeploymentVersion,
} from './deployment';
import { createHeartbeatInterceptor } from './heartbeat';
import { findWorkflowBundle, workflowBuildId } from './workflow-bundle';

/** Options of a worker. */
export interface WorkerWork {
  /** Kinds of the process; several where it combines them. */
  readonly kinds: readonly ProcessKind[];
  readonly taskQueue: string;
  /** Activities by name. */
  readonly activities: object;
  /** Around every attempt, outside of those that each worker has. */
  readonly interceptors?: readonly ActivityInterceptorsFactory[];
  /** Concurrency limits; default the SDK's. */
  readonly concurrency?: Pick<
    WorkerOptions,
    'maxConcurrentWorkflowTaskExecutions' | 'maxConcurrentLocalActivityExecutions'
  >;
  /** Readiness checks of the activities' dependencies. */
  readonly checks: readonly Check[];
  /** More fields for `/readyz`, for people; none by default. */
  readonly details?: (() => Promise<object>) | undefined;
}

/** A running worker. */
export interface StartedWorker {
  /** Its connection, closed after the worker when the process stops. */
  readonly connection: NativeConnection;
  /** Whether the process serves metrics. */
  readonly servesMetrics: boolean;
}

/**
 * Starts a worker, which runs until the process stops. Then it polls no new tasks, and running ones
 * have ten seconds to finish before they are cancelled and left to another worker.
 */
export async function startWorker(
  context: ProcessContext,
  { kinds, taskQueue, activities, interceptors = [], concurrency, checks, details }: WorkerWork,
): Promise<StartedWorker> {
  const { config, logger, traces, onStop } = context;
  const state: WorkerState = { isRunning: false };
  const servesMetrics = await serveMetrics(context, {
    kinds,
    checks: [...checks, ...workerChecks(state)],
    details,
  });
  await installTemporalRuntime(logger, { metrics: servesMetrics });
  const connection = await connectWithRetries({ config, logger });
  state.connection = connection;
  onStop('the connection to Temporal', () => connection.close());
  const version = versionOf(config, taskQueue, await workflowBuildId());
  const encrypted = config.PAYLOAD_ENCRYPTION_KEY !== undefined;
  const traced = traces !== undefined;
  const worker = await workerOf(context).create({
    connection,
    namespace: config.TEMPORAL_NAMESPACE,
    taskQueue,
    workflowBundle: { codePath: await findWorkflowBundle({ encrypted, traced }) },
    activities,
    ...concurrency,
    interceptors: {
      activity: [
        ...interceptors,
        ...activityInterceptors,
        (activity) => ({ inbound: createHeartbeatInterceptor(activity) }),
      ],
    },
    ...sinksOf(traces),
    ...dataConverterOf(config),
    ...workerDeploymentOf(version),
    shutdownGraceTime: '10 seconds',
    // The shutdown timeout of a process is 30 s, of which a bridge's consumer may take ten.
    shutdownForceTime: '15 seconds',
  });
  runUntilStop([worker], 'the worker', context);
  if (version !== undefined) await promoteIfFirstDeployed(context, version);
  const { TEMPORAL_NAMESPACE: namespace } = config;
  logger.info({ taskQueue, namespace, ...version }, 'worker is running');
  state.isRunning = true;
  return { connection, servesMetrics };
}

function workerOf({ config, logger, fail }: ProcessContext): typeof Worker {
  if (config.WORKFLOW_SANDBOX === 'standard') return Worker;
  const stackTraces = config.WORKFLOW_STACK_TRACES;
  return withLeanSandbox({ logger, stackTraces, onBlocked: fail });
}

/** A worker that runs activities only, in a process that has another one. */
export interface ActivityWork {
  readonly taskQueue: string;
  /** Activities by name. */
  readonly activities: object;
  /** Most of them at once. */
  readonly slots: number;
  /** Around every attempt, outside of those that each worker has. */
  readonly interceptors?: readonly ActivityInterceptorsFactory[];
}

/**
 * Starts workers for activities on task queues of their own, on the first one's connection. When the
 * process stops, running ones are cancelled after a second, and left to another worker: the first one
 * needs most of the time that a process has to stop.
 */
export async function startActivityWorkers(
  { config, logger, onStop, fail }: ProcessContext,
  connection: NativeConnection,
  works: readonly ActivityWork[],
): Promise<void> {
  const { TEMPORAL_NAMESPACE: namespace } = config;
  const workers: Worker[] = [];
  for (const { taskQueue, activities, slots, interceptors = [] } of works) {
    workers.push(
      await Worker.create({
        connection,
        namespace,
        taskQueue,
        activities,
        maxConcurrentActivityTaskExecutions: slots,
        maxConcurrentActivityTaskPolls: Math.min(slots, pollsOfFew),
        interceptors: { activity: [...interceptors, ...activityInterceptors] },
        ...dataConverterOf(config),
        shutdownGraceTime: '1 second',
        shutdownForceTime: '3 seconds',
      }),
    );
    logger.info({ taskQueue, namespace, slots }, 'worker is running');
  }
  runUntilStop(workers, 'the workers of activities', { onStop, fail });
}

// These queues are empty but in an outage, and each poll is a request that is held open.
const pollsOfFew = 2;

function runUntilStop(
  workers: readonly Worker[],
  what: string,
  { onStop, fail }: Pick<ProcessContext, 'onStop' | 'fail'>,
): void {
  const running = Promise.all(workers.map((worker) => worker.run()));
  running.catch(fail);
  onStop(what, async () => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await running;
  });
}

/** How far the worker has started. */
interface WorkerState {
  connection?: NativeConnection;
  isRunning: boolean;
}

/** The worker polls its task queue, and Temporal answers on its connection. */
function workerChecks(state: Readonly<WorkerState>): Check[] {
  const probeWorker = async (): Promise<void> => {
    if (!state.isRunning) throw new Error('not running yet');
  };
  const probeTemporal = async (): Promise<void> => {
    if (state.connection === undefined) throw new Error('not connected');
    await state.connection.workflowService.getSystemInfo({});
  };
  return [
    { name: 'worker', required: true, probe: probeWorker },
    { name: 'temporal', required: true, probe: probeTemporal },
  ];
}

/** Exports the spans from the workflow sandbox. */
function sinksOf(traces: RecordedTraces | undefined): Pick<WorkerOptions, 'sinks'> {
  if (traces === undefined) return {};
  return { sinks: { exporter: { ...makeWorkflowExporter(traces.processor, traces.resource) } } };
}

async function promoteIfFirstDeployed(
  { config, logger, onStop }: ProcessContext,
  version: DeploymentVersion,
): Promise<void> {
  let stopping = false;
  onStop('the promotion', () => Promise.resolve((stopping = true)));
  const client = createTemporalClient(config);
  try {
    while (!stopping) {
      try {
        const current = await promoteIfFirst(client, version);
        if (current === version.buildId) return;
        logger.warn({ ...version, current }, 'another version is current; promote this one');
        return;
      } catch (error) {
        if (!isTooEarly(error)) throw error;
        // Temporal learns of a version by its worker's first poll.
        logger.debug({ err: error }, 'Temporal does not know this version yet; retrying');
        await sleep(reconnectMs);
      }
    }
  } finally {
    await client.connection.close();
  }
}

const reconnectMs = 1_000;

async function connectWithRetries({
  config,
  logger,
}: Pick<ProcessContext, 'config' | 'logger'>): Promise<NativeConnection> {
  for (;;) {
    try {
      return await connectWorker(config);
    } catch (error) {
      logger.warn(
        { err: error, address: config.TEMPORAL_ADDRESS },
        'Temporal unavailable; retrying',
      );
      await sleep(reconnectMs);
    }
  }
}
