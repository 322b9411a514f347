/** Starting a Temporal worker within a process's life. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker, type NativeConnection } from '@temporalio/worker';
import type { Process } from '../platform/lifecycle';
import { dataConverterOf } from '../platform/payload-encryption';
import { connectWorker, installTemporalRuntime } from '../platform/temporal-worker';
import { createTemporalClient } from '../platform/temporal';
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
  readonly taskQueue: string;
  /** Activities by name. */
  readonly activities: object;
}

/**
 * Starts a worker and lets it run until the process stops; then it takes no new tasks, and what is
 * under way has ten seconds to finish before it is cancelled and left to another worker.
 */
export async function startWorker(
  process: Process,
  { taskQueue, activities }: WorkerWork,
): Promise<void> {
  const { config, logger, onStop, fail } = process;
  installTemporalRuntime(logger);
  const connection = await connectPatiently({ config, logger });
  onStop('the connection to Temporal', () => connection.close());
  const version = versionOf(config, taskQueue, await workflowBuildId());
  const encrypted = config.PAYLOAD_ENCRYPTION_KEY !== undefined;
  const worker = await Worker.create({
    connection,
    namespace: config.TEMPORAL_NAMESPACE,
    taskQueue,
    workflowBundle: { codePath: await findWorkflowBundle({ encrypted }) },
    activities,
    ...dataConverterOf(config),
    ...workerDeploymentOf(version),
    interceptors: { activity: [(context) => ({ inbound: createHeartbeatInterceptor(context) })] },
    shutdownGraceTime: '10 seconds',
    shutdownForceTime: '20 seconds',
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
