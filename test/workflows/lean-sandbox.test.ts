/**
 * What `platform/temporal/lean-sandbox` takes for granted of Temporal's SDK behind its public interface,
 * and what it promises instead. Another version of the SDK has to pass this before it is named there.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import {
  bundleWorkflowCode,
  DefaultLogger,
  NativeConnection,
  type Worker,
  type WorkerOptions,
} from '@temporalio/worker';
import {
  withLeanSandbox,
  type LeanSandboxOptions,
} from '../../platform/temporal/lean-sandbox/worker';
import { WorkerThreadClient } from '@temporalio/worker/lib/workflow/threaded-vm';
import type { WorkflowInfo } from '@temporalio/workflow';
import { runToItsEnd } from '../../testkit/run-process';
import { createEnvironment, type Environment } from '../../testkit/workflow-environment';

const warn = jest.fn();
let environment: Environment;
let connection: NativeConnection;
let folder: string;
let codePath: string;

beforeAll(async () => {
  environment = await createEnvironment();
  connection = await NativeConnection.connect({ address: environment.address });
  folder = await mkdtemp(path.join(tmpdir(), 'sandbox-workflows-'));
  codePath = path.join(folder, 'workflows.js');
  const { code } = await bundleWorkflowCode({
    workflowsPath: path.join(__dirname, 'fixtures', 'sandbox-workflows'),
    logger: new DefaultLogger('ERROR', () => undefined),
  });
  await writeFile(codePath, code);
});

beforeEach(() => warn.mockClear());

afterAll(async () => {
  await connection.close();
  await environment.stop();
  await rm(folder, { recursive: true });
});

function createWorker(
  taskQueue: string,
  options: Partial<LeanSandboxOptions> = {},
  more: Pick<WorkerOptions, 'sinks'> = {},
): Promise<Worker> {
  return withLeanSandbox({
    logger: { warn },
    stackTraces: false,
    onBlocked: (error) => {
      throw error;
    },
    ...options,
  }).create({
    connection,
    namespace: environment.namespace,
    taskQueue,
    workflowBundle: { codePath },
    ...more,
  });
}

function start(type: string, taskQueue: string, ...args: unknown[]): Promise<WorkflowHandle> {
  const workflowId = randomUUID();
  return environment.client.workflow.start(type, { workflowId, taskQueue, args });
}

/** Runs a workflow that waits, asks it for its stack trace, and lets it end. */
async function stackTraceOf(worker: Worker, taskQueue: string): Promise<unknown> {
  return worker.runUntil(async () => {
    const handle = await start('waitForSignal', taskQueue);
    const answer = await handle.query<string>('__stack_trace').catch((error: unknown) => error);
    await handle.signal('goOn');
    expect(await handle.result()).toBe('went on');
    return answer;
  });
}

test('workflows run in it, and no stacks are recorded: who asks for one is told so', async () => {
  const worker = await createWorker('lean');

  expect(await stackTraceOf(worker, 'lean')).toMatchObject({
    cause: { details: 'Workflow stack traces are not enabled on this worker' },
  });
  expect(warn).not.toHaveBeenCalled();
});

test('stacks are recorded where they are asked for', async () => {
  const worker = await createWorker('with-stacks', { stackTraces: true });

  expect(await stackTraceOf(worker, 'with-stacks')).toMatch(
    /at waitForSignal \(.*sandbox-workflows.*index\.ts:\d+:\d+\)/,
  );
  expect(warn).not.toHaveBeenCalled();
});

test('what a workflow hands out arrives in order with the answers, and nobody asks for it', async () => {
  const send = jest.spyOn(WorkerThreadClient.prototype, 'send');
  const taken: string[] = [];
  const note = {
    fn: (info: WorkflowInfo, text: string) => {
      // A copy of the workflow's, whose functions are those of this thread.
      expect(info.unsafe.now()).toBeGreaterThan(0);
      taken.push(`${info.workflowType} ${text}`);
    },
  };
  const worker = await createWorker('noting', {}, { sinks: { notes: { note } } });

  await worker.runUntil(async () => {
    const handle = await start('takeNotes', 'noting');
    await handle.signal('goOn');
    await handle.result();
  });

  expect(taken).toEqual(['takeNotes began', 'takeNotes went on']);
  const asked = send.mock.calls.map(([{ type }]) => type);
  expect(asked).toContain('activate-workflow');
  expect(asked).not.toContain('extract-sink-calls');
  send.mockRestore();
});

test('no call has a watchdog thread of its own, which would end it after five seconds', async () => {
  const worker = await createWorker('patient', { limitMs: 30_000 });
  await worker.runUntil(async () => {
    const handle = await start('holdThread', 'patient', 6_000);

    expect(await handle.result()).toBe('gave way');

    const { events } = await handle.fetchHistory();
    expect(events!.filter((event) => event.workflowTaskFailedEventAttributes)).toEqual([]);
  });
}, 30_000);

test('a workflow that does not give way ends the process, which names it, and nobody else is held up', async () => {
  const taskQueue = 'blocked';
  const [blocking, waiting] = await Promise.all([
    start('loopForEver', taskQueue),
    start('waitForSignal', taskQueue),
  ]);

  const { exitCode, output } = await runToItsEnd(
    path.join(__dirname, 'fixtures', 'worker-with-limit.ts'),
    {
      TEMPORAL_ADDRESS: environment.address,
      TEMPORAL_NAMESPACE: environment.namespace,
      TASK_QUEUE: taskQueue,
      WORKFLOW_BUNDLE: codePath,
    },
  );

  expect(exitCode).toBe(1);
  const { runId } = (await blocking.describe()) as { runId: string };
  expect(output).toContain(
    `The workflow loopForEver with the ID ${blocking.workflowId} (run ${runId}) has not given way for 0.5 s`,
  );
  expect(output).toContain('WORKFLOW_BLOCKED');
  await blocking.terminate();
  const worker = await createWorker(taskQueue);
  await worker.runUntil(async () => {
    await waiting.signal('goOn');
    expect(await waiting.result()).toBe('went on');
  });
}, 60_000);

test('with another version of the SDK, workflows run in its own sandbox, and a warning says so', async () => {
  const worker = await createWorker('unknown', { sdkVersion: '0.0.0' });

  expect(warn.mock.calls).toMatchObject([
    [{ err: { code: 'SDK_UNKNOWN' } }, expect.stringContaining('cannot use the lean sandbox')],
  ]);
  // The SDK's own records stacks.
  expect(await stackTraceOf(worker, 'unknown')).toContain('at waitForSignal');
});
