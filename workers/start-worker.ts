/** Starting a Temporal worker within a process's life. */
import { setTimeout as sleep } from 'node:timers/promises';
import { makeWorkflowExporter } from '@temporalio/interceptors-opentelemetry/lib/worker';
import { Worker, type NativeConnection, type WorkerOptions } from '@temporalio/worker';
import type { Check } from '../platform/dependencies/readiness';
import type { Process } from '../platform/process/lifecycle';
import { serveMetrics } from '../platform/observability/prometheus-server';
import { dataConverterOf } from '../platform/temporal/payload-encryption';
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

/** What a worker works on. */
export interface WorkerWork {
  /** What the process is; more than one where it does the work of others too. */
  readonly kinds: readonly ProcessKind[];
  readonly taskQueue: string;
  /** Activities by name. */
  readonly activities: object;
  /** How much runs at once; the SDK's defaults where not given. */
  readonly concurrency?: Pick<
    WorkerOptions,
    'maxConcurrentWorkflowTaskExecutions' | 'maxConcurrentLocalActivityExecutions'
  >;
  /** What the activities depend on. */
  readonly checks: readonly Check[];
  /** What else `/readyz` tells, for people; nothing by default. */
  readonly details?: (() => Promise<object>) | undefined;
}

/** A worker that runs. */
export interface StartedWorker {
  /** The connection that it works over. It is closed when the process stops, after the worker. */
  readonly connection: NativeConnection;
  /** Whether the process serves metrics. */
  readonly servesMetrics: boolean;
}

/**
 * Starts a worker and lets it run until the process stops; then it takes no new tasks, and what is
 * under way has ten seconds to finish before it is cancelled and left to another worker.
 */
export async function startWorker(
  process: Process,
  { kinds, taskQueue, activities, concurrency, checks, details }: WorkerWork,
): Promise<StartedWorker> {
  const { config, logger, traces, onStop, fail } = process;
  const state: { connection?: NativeConnection } = {};
  const servesMetrics = await serveMetrics(process, {
    kinds,
    checks: [...checks, workerCheck(state)],
    details,
  });
  await installTemporalRuntime(logger, { metrics: servesMetrics });
  const connection = await connectPatiently({ config, logger });
  state.connection = connection;
  onStop('the connection to Temporal', () => connection.close());
  const version = versionOf(config, taskQueue, await workflowBuildId());
  const encrypted = config.PAYLOAD_ENCRYPTION_KEY !== undefined;
  const traced = traces !== undefined;
  const worker = await Worker.create({
    connection,
    namespace: config.TEMPORAL_NAMESPACE,
    taskQueue,
    workflowBundle: { codePath: await findWorkflowBundle({ encrypted, traced }) },
    activities,
    ...concurrency,
    interceptors: {
      activity: [
        ...activityInterceptors,
        (context) => ({ inbound: createHeartbeatInterceptor(context) }),
      ],
    },
    ...sinksOf(traces),
    ...dataConverterOf(config),
    ...workerDeploymentOf(version),
    shutdownGraceTime: '10 seconds',
    // A process has 30 s to stop in, of which the consumer of a bridge may take ten.
    shutdownForceTime: '15 seconds',
  });
  const running = worker.run();
  running.catch(fail);
  onStop('the worker', async () => {
    if (worker.getState() === 'RUNNING') worker.shutdown();
    await running;
  });
  if (version !== undefined) await beCurrentIfFirst(process, version);
  const { TEMPORAL_NAMESPACE: namespace } = config;
  logger.info({ taskQueue, namespace, ...version }, 'worker is running');
  return { connection, servesMetrics };
}

/** Temporal answers on the connection that the worker works over. */
function workerCheck(state: { readonly connection?: NativeConnection }): Check {
  const probe = async (): Promise<void> => {
    if (state.connection === undefined) throw new Error('not connected');
    await state.connection.workflowService.getSystemInfo({});
  };
  return { name: 'temporal', required: true, probe };
}

/** Takes the spans out of the workflows' sandbox. */
function sinksOf(traces: RecordedTraces | undefined): Pick<WorkerOptions, 'sinks'> {
  if (traces === undefined) return {};
  return { sinks: { exporter: { ...makeWorkflowExporter(traces.processor, traces.resource) } } };
}

async function beCurrentIfFirst(
  { config, logger, onStop }: Process,
  version: DeploymentVersion,
): Promise<void> {
  let stopping = false;
  onStop('becoming current', () => Promise.resolve((stopping = true)));
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
        // Temporal gets to know a version by its worker's first poll.
        logger.debug({ err: error }, 'Temporal does not know this version yet');
        await sleep(reconnectMs);
      }
    }
  } finally {
    await client.connection.close();
  }
}

const reconnectMs = 1_000;

async function connectPatiently({
  config,
  logger,
}: Pick<Process, 'config' | 'logger'>): Promise<NativeConnection> {
  for (;;) {
    try {
      return await connectWorker(config);
    } catch (error) {
      logger.warn(
        { err: error, address: config.TEMPORAL_ADDRESS },
        'Temporal is away; trying again',
      );
      await sleep(reconnectMs);
    }
  }
}
