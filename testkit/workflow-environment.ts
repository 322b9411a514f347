/**
 * What tests of workflows run in: Temporal's time-skipping test server, the workflows as the workers
 * bundle them, and activities that the test makes up. Hours of waiting pass in moments.
 */
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { findTestServer } from '../cluster/test-server';
import { findWorkflowBundle } from '../workers/workflow-bundle';
import { searchAttributes } from '../events/workflow-names';

/** A server whose time is skipped while a workflow's result is awaited, and while one sleeps. */
export interface Environment extends Pick<
  TestWorkflowEnvironment,
  'client' | 'currentTimeMs' | 'sleep'
> {
  readonly namespace: string;
  /** Where another process reaches the server, `host:port`. */
  readonly address: string;
  /** Runs a worker on `taskQueue` while `work` is under way. */
  withWorker<T>(taskQueue: string, activities: object, work: () => Promise<T>): Promise<T>;
  /** Names of the activities that the workflow has scheduled, apart from those within its own task. */
  ordinaryActivitiesOf(workflowId: string): Promise<string[]>;
  stop(): Promise<void>;
}

/** Starts a server of its own on a free port. */
export async function createEnvironment(): Promise<Environment> {
  installRuntime();
  const path = process.env['TEMPORAL_TEST_SERVER_PATH'] ?? (await findTestServer(() => undefined));
  const [environment, codePath] = await Promise.all([startServer(path), findWorkflowBundle()]);
  const namespace = environment.namespace ?? 'default';
  const keyword = 2;
  await environment.connection.operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(
      Object.values(searchAttributes).map(({ name }) => [name, keyword]),
    ),
  });
  return {
    client: environment.client,
    namespace,
    address: environment.address,
    currentTimeMs: () => environment.currentTimeMs(),
    sleep: (duration) => environment.sleep(duration),
    async withWorker(taskQueue, activities, work) {
      const worker = await Worker.create({
        connection: environment.nativeConnection,
        namespace,
        taskQueue,
        workflowBundle: { codePath },
        activities,
      });
      return worker.runUntil(work);
    },
    async ordinaryActivitiesOf(workflowId) {
      const handle = environment.client.workflow.getHandle(workflowId);
      const { events } = await handle.fetchHistory();
      return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) =>
        scheduled ? [scheduled.activityType?.name ?? ''] : [],
      );
    },
    stop: () => environment.teardown(),
  };
}

let runtimeIsInstalled = false;

/** There is one for the whole process, however many environments a test file has. */
function installRuntime(): void {
  if (runtimeIsInstalled) return;
  runtimeIsInstalled = true;
  // Failing tries are what these tests are about; their log lines would bury everything else.
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { forward: {}, filter: 'ERROR' } },
  });
}

const startTries = 4;

/** On a busy machine Java may need longer to start than the SDK waits for it. */
async function startServer(path: string, tries = 1): Promise<TestWorkflowEnvironment> {
  try {
    return await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'existing-path', path } },
    });
  } catch (error) {
    const isSlow = error instanceof Error && error.message.includes('did not start within');
    if (!isSlow || tries === startTries) throw error;
    return startServer(path, tries + 1);
  }
}

/** An outage that ends `durationMs` after now, in the server's time. */
export async function outageOf(
  { currentTimeMs }: Pick<Environment, 'currentTimeMs'>,
  durationMs: number,
): Promise<{ fail(): Promise<void>; tries(): number }> {
  const endsAt = (await currentTimeMs()) + durationMs;
  let tries = 0;
  return {
    async fail() {
      tries += 1;
      if ((await currentTimeMs()) < endsAt) throw new Error('away');
    },
    tries: () => tries,
  };
}
