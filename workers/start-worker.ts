/** Starting a Temporal worker within a process's life. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker, type NativeConnection } from '@temporalio/worker';
import type { Process } from '../platform/lifecycle';
import { connectWorker, installTemporalRuntime } from '../platform/temporal-worker';
import { findWorkflowBundle } from './workflow-bundle';

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
  { config, logger, onStop, fail }: Process,
  { taskQueue, activities }: WorkerWork,
): Promise<void> {
  installTemporalRuntime(logger);
  const connection = await connectPatiently({ config, logger });
  onStop('the connection to Temporal', () => connection.close());
  const worker = await Worker.create({
    connection,
    namespace: config.TEMPORAL_NAMESPACE,
    taskQueue,
    workflowBundle: { codePath: await findWorkflowBundle() },
    activities,
    shutdownGraceTime: '10 seconds',
    shutdownForceTime: '20 seconds',
  });
  const running = worker.run();
  running.catch(fail);
  onStop('the worker', async () => {
    if (worker.getState() === 'RUNNING') worker.shutdown();
    await running;
  });
  logger.info({ taskQueue, namespace: config.TEMPORAL_NAMESPACE }, 'worker is running');
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
