/**
 * What tests of workflows run in: Temporal's time-skipping test server, the workflows as the workers
 * bundle them, and activities that the test makes up. Hours of waiting pass in moments.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Connection, makeGrpcRetryInterceptor } from '@temporalio/client';
import {
  InternalConnectionOptionsSymbol,
  type InternalConnectionOptions,
} from '@temporalio/client/lib/connection';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { findDistinctFreePorts } from '../cluster/ports';
import { findTestServer } from '../cluster/test-server';
import { findWorkflowBundle } from '../workers/workflow-bundle';
import { createEndingRetries } from '../platform/temporal/client';
import { searchAttributes, waitingTaskQueues } from '../events/workflow-names';
import { rememberProcess } from './child-processes';

/** A server whose time is skipped while a workflow's result is awaited, and while one sleeps. */
export interface Environment extends Pick<
  TestWorkflowEnvironment,
  'client' | 'currentTimeMs' | 'sleep'
> {
  readonly namespace: string;
  /** Where another process reaches the server, `host:port`. */
  readonly address: string;
  /** Runs a worker on `taskQueue`, and on those that its activities wait in, while `work` is under way. */
  withWorker<T>(taskQueue: string, activities: object, work: () => Promise<T>): Promise<T>;
  /** Names of the activities that the workflow has scheduled, apart from those within its own task. */
  ordinaryActivitiesOf(workflowId: string): Promise<string[]>;
  /**
   * How long a closed workflow was open, in ms. The current time would not do: once the result is there,
   * the server may skip to what is due next, which can be ten years away.
   */
  durationMsOf(workflowId: string): Promise<number>;
  /** Whether another test may use it: no workflow is open in it, and it still skips time. */
  isAsNew(): Promise<boolean>;
  stop(): Promise<void>;
}

/** Starts a server of its own on a free port. */
export async function createEnvironment(): Promise<Environment> {
  installRuntime();
  const path = process.env['TEMPORAL_TEST_SERVER_PATH'] ?? (await findTestServer(() => undefined));
  const [{ environment, stop }, codePath] = await Promise.all([
    startServer(path),
    findWorkflowBundle(),
  ]);
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
      const { nativeConnection: connection } = environment;
      const worker = await Worker.create({
        connection,
        namespace,
        taskQueue,
        workflowBundle: { codePath },
        activities,
      });
      let run = (): Promise<unknown> => worker.runUntil(work);
      for (const queue of waitingQueuesOf(taskQueue)) {
        const options = { connection, namespace, taskQueue: queue, activities };
        const waiting = await Worker.create(options);
        const inner = run;
        run = () => waiting.runUntil(inner);
      }
      return run() as ReturnType<typeof work>;
    },
    async ordinaryActivitiesOf(workflowId) {
      const handle = environment.client.workflow.getHandle(workflowId);
      const { events } = await handle.fetchHistory();
      return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) =>
        scheduled ? [scheduled.activityType?.name ?? ''] : [],
      );
    },
    async durationMsOf(workflowId) {
      const { startTime, closeTime } = await environment.client.workflow
        .getHandle(workflowId)
        .describe();
      if (closeTime === undefined) throw new Error(`Workflow ${workflowId} is still open.`);
      return closeTime.getTime() - startTime.getTime();
    },
    async isAsNew() {
      const { workflowService } = environment.connection;
      const { executions } = await workflowService.listOpenWorkflowExecutions({ namespace });
      return (executions ?? []).length === 0 && skipsTime(environment);
    },
    stop,
  };
}

/** Where the workflows of a task queue send the activities that may wait for long. */
function waitingQueuesOf(taskQueue: string): string[] {
  return Object.values(waitingTaskQueues).filter((queue) => queue.startsWith(`${taskQueue}-`));
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

/** On a busy machine Java may need far longer to start than the five seconds that the SDK would wait. */
const startTimeoutMs = 120_000;

/** The SDK's own environment, on a server that it did not start and does not stop. */
class TimeSkippingEnvironment extends TestWorkflowEnvironment {
  readonly retries = createEndingRetries();

  static async connect(address: string): Promise<TimeSkippingEnvironment> {
    const retries = createEndingRetries();
    const options: InternalConnectionOptions = {
      address,
      connectTimeout: startTimeoutMs,
      interceptors: [makeGrpcRetryInterceptor(retries)],
      [InternalConnectionOptionsSymbol]: { supportsTestService: true },
    };
    const connection = await Connection.connect(options);
    const nativeConnection = await NativeConnection.connect({ address });
    const unused = { client: {}, plugins: [], server: { type: 'existing' } } as never;
    const constructed = [connection, nativeConnection, undefined, address] as const;
    const environment = new this(Runtime.instance(), unused, true, 'existing', ...constructed);
    return Object.assign(environment, { retries });
  }

  override async teardown(): Promise<void> {
    await this.retries.end();
    await super.teardown();
  }
}

/** Starts a server and connects to it; a server that cannot be connected to is killed. */
async function startServer(path: string): Promise<{
  environment: TimeSkippingEnvironment;
  stop: () => Promise<void>;
}> {
  const [port] = await findDistinctFreePorts(1);
  const server = rememberProcess(spawn(path, [String(port)], { stdio: 'ignore' }));
  // A test that fails before it stops the server must not keep its run from ending.
  server.unref();
  const exited = once(server, 'exit');
  const ended = exited.then(([exitCode]) => {
    throw new Error(`Temporal's test server ended with exit code ${String(exitCode)}.`);
  });
  ended.catch(() => undefined);
  const kill = async (): Promise<void> => {
    // Waited for, even where nothing else keeps the process.
    server.ref();
    server.kill('SIGKILL');
    await exited;
  };
  try {
    const connecting = TimeSkippingEnvironment.connect(`127.0.0.1:${port}`);
    const environment = await Promise.race([connecting, ended]);
    return { environment, stop: () => environment.teardown().finally(kill) };
  } catch (error) {
    await kill();
    throw error;
  }
}

const skipTimeoutMs = 2_000;

function skipsTime(environment: TestWorkflowEnvironment): Promise<boolean> {
  const skipping = environment.sleep('1 hour').then(
    () => true,
    () => false,
  );
  return Promise.race([skipping, delay(skipTimeoutMs, false, { ref: false })]);
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
