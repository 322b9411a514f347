/** Starts a child workflow that outlives its parent, at most once at a time. Not a workflow itself. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { ParentClosePolicy, startChild, type ChildWorkflowOptions } from '@temporalio/workflow';

/** Starts an abandoned child, whatever the state of an earlier workflow of its ID. */
export async function startUnlessRunning(
  workflowType: string,
  options: ChildWorkflowOptions & { readonly args: unknown[] },
): Promise<void> {
  try {
    await startChild(workflowType, {
      ...options,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}
