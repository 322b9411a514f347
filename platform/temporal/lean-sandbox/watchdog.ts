/**
 * Notices a workflow that does not give way: one that computes or loops in the sandbox's only thread,
 * where every other workflow of the worker waits for it.
 */

/** What the sandbox's thread tells of its calls, in memory that it shares with the main thread. */
export interface SandboxCalls {
  /**
   * First a number that grows by one when a call begins and when it ends, so that it is odd during one;
   * then the length of `workflow` in bytes.
   */
  readonly state: Int32Array;
  /** The workflow of the latest call, as JSON. */
  readonly workflow: Uint8Array;
}

// Temporal takes types and IDs of up to 1,000 bytes; JSON may need six for one of them.
const longestWorkflow = 16 * 1024;

/** Memory for a thread that has run nothing yet. */
export function createSandboxCalls(): SandboxCalls {
  return {
    state: new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)),
    workflow: new Uint8Array(new SharedArrayBuffer(longestWorkflow)),
  };
}

/** A run of a workflow. */
interface WorkflowRun {
  readonly workflowType: string;
  readonly workflowId: string;
  readonly runId: string;
}

/** A workflow did not give way in time. The process must end; Temporal gives its work to others. */
export class WorkflowBlockedError extends Error {
  override readonly name = 'WorkflowBlockedError';
  readonly code = 'WORKFLOW_BLOCKED';
  readonly workflowType: string;
  readonly workflowId: string;
  readonly runId: string;

  constructor({ workflowType, workflowId, runId }: WorkflowRun, limitMs: number) {
    super(
      `The workflow ${workflowType} with the ID ${workflowId} (run ${runId}) has not given way for ` +
        `${limitMs / 1_000} s, and every other workflow of this worker waits for it: the process ends. ` +
        `Temporal tries it again, on another worker, in ever longer intervals; ` +
        `see ProcessRestarting in docs/runbook.md.`,
    );
    this.workflowType = workflowType;
    this.workflowId = workflowId;
    this.runId = runId;
  }
}

export interface WatchOptions {
  /** How long a workflow may run without giving way, in ms. It is noticed a fifth of that later at most. */
  readonly limitMs: number;
  /** Called once; the watch is over then. */
  onBlocked(error: WorkflowBlockedError): void;
}

/** Watches until the returned function is called, or a workflow is blocked. */
export function watchCalls(
  { state, workflow }: SandboxCalls,
  { limitMs, onBlocked }: WatchOptions,
): () => void {
  const looksInLimit = 5;
  let seen = 0;
  let looks = 0;
  const watch = setInterval(() => {
    const call = Atomics.load(state, 0);
    const lasts = call % 2 !== 0 && call === seen;
    seen = call;
    // Looks are counted, not time: a process that was suspended looks no more often for it.
    looks = lasts ? looks + 1 : 0;
    if (looks < looksInLimit) return;
    clearInterval(watch);
    const text = Buffer.from(workflow.slice(0, Atomics.load(state, 1))).toString();
    onBlocked(new WorkflowBlockedError(JSON.parse(text) as WorkflowRun, limitMs));
  }, limitMs / looksInLimit);
  watch.unref();
  return () => clearInterval(watch);
}
