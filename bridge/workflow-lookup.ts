/** Looks up in Temporal what became of a workflow. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';

/**
 * Whether a workflow has done what it could: it has completed or failed, or Temporal does not know it. One
 * that somebody has terminated or cancelled has not: the delivery audit decides about its work.
 *
 * @throws whatever Temporal's client throws when there is no answer within five seconds
 */
export type HasEnded = (workflowId: string) => Promise<boolean>;

const answerWithinMs = 5_000;

/** Asks the Temporal of a client. */
export function createWorkflowLookup(client: Client): HasEnded {
  return async (workflowId) => {
    const handle = client.workflow.getHandle(workflowId);
    try {
      const { status } = await client.withDeadline(Date.now() + answerWithinMs, () =>
        handle.describe(),
      );
      return status.name === 'COMPLETED' || status.name === 'FAILED';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return true;
      throw error;
    }
  };
}
