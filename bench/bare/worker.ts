/** The worker of the bare workflows. It reports to its parent how many have completed. */
import path from 'node:path';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { readConfig } from '../../platform/process/config';
import { connectWorker } from '../../platform/temporal/worker';
import type { BareActivities } from './workflows';

/** Where the bare workflows run. */
export const bareTaskQueue = 'bare';

const tellEveryMs = 20;

async function main(): Promise<void> {
  const config = readConfig(process.env);
  Runtime.install({ logger: new DefaultLogger('WARN') });
  let done = 0;
  const activities: BareActivities = {
    nothing: () => Promise.resolve(),
    done: () => Promise.resolve(void (done += 1)),
  };
  const workflowBundle = await bundleWorkflowCode({
    workflowsPath: path.join(__dirname, 'workflows.ts'),
    logger: new DefaultLogger('WARN'),
  });
  const worker = await Worker.create({
    connection: await connectWorker(config),
    namespace: config.TEMPORAL_NAMESPACE,
    taskQueue: bareTaskQueue,
    workflowBundle,
    activities,
    // The same concurrency as the pipeline's own worker of the collector.
    maxConcurrentWorkflowTaskExecutions: 200,
    maxConcurrentLocalActivityExecutions: 400,
  });
  const telling = setInterval(() => process.send?.({ done }), tellEveryMs);
  process.once('SIGTERM', () => {
    clearInterval(telling);
    worker.shutdown();
  });
  const running = worker.run();
  process.send?.({ ready: true });
  await running;
  process.exit(0);
}

void main();
