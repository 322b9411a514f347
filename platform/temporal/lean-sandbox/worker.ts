/**
 * Temporal's worker with a leaner sandbox: the SDK starts a watchdog thread for each call into the
 * sandbox, and records a stack for each promise. Here one watchdog looks after the whole process, and
 * stacks are recorded on demand. See docs/decisions/0022-lean-sandbox.md.
 *
 * It reaches into the SDK behind its public interface. Where that is not as it was when this was
 * written, the worker runs in the SDK's own sandbox.
 */
import path from 'node:path';
import { Worker as Thread } from 'node:worker_threads';
import type { Logger as SdkLogger } from '@temporalio/common';
import { Worker } from '@temporalio/worker';
import type { SinkCall } from '@temporalio/workflow';
import type { CompiledWorkerOptions } from '@temporalio/worker/lib/worker-options';
import type { WorkflowCreator } from '@temporalio/worker/lib/workflow/interface';
import {
  ThreadedVMWorkflowCreator,
  WorkerThreadClient,
} from '@temporalio/worker/lib/workflow/threaded-vm';
import type {
  WorkerThreadInput,
  WorkflowBundleWithSourceMapAndFilename as Bundle,
} from '@temporalio/worker/lib/workflow/workflow-worker-thread/input';
import type { WorkerThreadOutput } from '@temporalio/worker/lib/workflow/workflow-worker-thread/output';
import { version } from '@temporalio/worker/package.json';
import type { Logger } from '../../observability/logger';
import { createSandboxCalls, watchCalls, type WorkflowBlockedError } from './watchdog';

// Another version has to pass test/workflows/lean-sandbox.test.ts before it is named here.
const knownVersion = '1.24.0';

// The SDK's own limit of a call into its sandbox.
const defaultLimitMs = 5_000;

export interface LeanSandboxOptions {
  readonly logger: Pick<Logger, 'warn'>;
  /** Whether to record where each promise of a workflow waits, for the query `__stack_trace`. */
  readonly stackTraces: boolean;
  /** Told of a workflow that does not give way, just before the thread that it blocks is ended. */
  onBlocked(error: WorkflowBlockedError): void;
  /** How long a workflow may run without giving way, in ms; five seconds by default. */
  readonly limitMs?: number;
  /** The SDK's version; by default that of the one that is installed. */
  readonly sdkVersion?: string;
}

/** The SDK has another version than the one that the lean sandbox was written for. */
class UnknownSdkError extends Error {
  override readonly name = 'UnknownSdkError';
  readonly code = 'SDK_UNKNOWN';
}

/** The SDK's `Worker`, whose workflows run in a lean sandbox. */
export function withLeanSandbox(options: LeanSandboxOptions): typeof Worker {
  return class extends Worker {
    protected static override async createWorkflowCreator(
      bundle: Bundle,
      workerOptions: CompiledWorkerOptions,
      logger: SdkLogger,
    ): Promise<WorkflowCreator> {
      const createOwn = () => super.createWorkflowCreator(bundle, workerOptions, logger);
      // Who debugs a workflow may let it stand still for as long as it takes.
      if (workerOptions.debugMode) return createOwn();
      try {
        assertKnown(options.sdkVersion ?? version);
        const client = await startThread(bundle, workerOptions, logger, options);
        return new ThreadedVMWorkflowCreator([client]);
      } catch (error) {
        options.logger.warn(
          { err: error },
          "cannot use the lean sandbox; workflows run in Temporal's own, which takes more of the processor",
        );
        return createOwn();
      }
    }
  };
}

function assertKnown(sdkVersion: string): void {
  if (sdkVersion === knownVersion) return;
  throw new UnknownSdkError(
    `The lean sandbox is for version ${knownVersion} of Temporal's SDK, and this is ${sdkVersion}.`,
  );
}

/**
 * The SDK's client of the thread. After each activation the SDK asks for its sink calls, and sends the
 * completion only then; here the activation has brought them.
 */
class LeanThreadClient extends WorkerThreadClient {
  /** By run, from an activation until the SDK asks for them. */
  private readonly broughtSinkCalls = new Map<string, SinkCall[]>();

  override async send(input: WorkerThreadInput): Promise<WorkerThreadOutput> {
    if (input.type === 'extract-sink-calls') {
      const calls = this.broughtSinkCalls.get(input.runId);
      this.broughtSinkCalls.delete(input.runId);
      // An activation that failed has brought none, and may have made some.
      if (calls !== undefined) return { type: 'sink-calls', calls };
    }
    const output = await super.send(input);
    if (input.type === 'activate-workflow' && output?.type === 'activation-completion') {
      const completion: object & { sinkCalls?: SinkCall[] } = output.completion;
      if (completion.sinkCalls !== undefined) {
        this.broughtSinkCalls.set(input.runId, completion.sinkCalls);
      }
      delete completion.sinkCalls;
    }
    return output;
  }
}

/** As the SDK starts its only thread for workflows that share a context. */
async function startThread(
  workflowBundle: Bundle,
  { activities, patchActivationCallback }: CompiledWorkerOptions,
  sdkLogger: SdkLogger,
  { stackTraces, onBlocked, limitMs = defaultLimitMs }: LeanSandboxOptions,
): Promise<WorkerThreadClient> {
  const calls = createSandboxCalls();
  const thread = new Thread(path.join(__dirname, 'thread.cjs'), {
    workerData: { calls, stackTraces },
  });
  const client = new LeanThreadClient(thread, sdkLogger, patchActivationCallback);
  const stopWatching = watchCalls(calls, {
    limitMs,
    onBlocked(error) {
      onBlocked(error);
      // Tasks of others that wait in the thread fail at once, and go to another worker.
      void thread.terminate();
    },
  });
  thread.once('exit', stopWatching);
  try {
    await client.send({
      type: 'init',
      workflowBundle,
      // The watchdog thread of a call is that of its timeout.
      isolateExecutionTimeoutMs: undefined as never,
      reuseV8Context: true,
      registeredActivityNames: new Set(activities.keys()),
      hasPatchActivationCallback: patchActivationCallback !== undefined,
    });
    return client;
  } catch (error) {
    await thread.terminate();
    throw error;
  }
}
