/**
 * What a stopping API does with views that Kafka has not acknowledged: up to 500 of them go into one
 * `publishEvents` workflow, which retries until they are sent.
 */
import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { workflowIds } from '../../events/workflow-ids';
import { searchAttributes, taskQueues, workflowTypes } from '../../events/workflow-names';
import type { ViewEvent } from './view-publisher';

/**
 * Resolves once the views are durable elsewhere. The same views again are harmless.
 *
 * @param views at most 500, which stay below 300 KiB of the 1 MiB for one start: product and user have
 *   64 bytes each
 */
export type HandOver = (views: readonly ViewEvent[]) => Promise<void>;

const startTimeoutMs = 5_000;

/** Hands views over to workflows. */
export function handOverToWorkflow(client: Client): HandOver {
  return async (views) => {
    await client.withDeadline(Date.now() + startTimeoutMs, () =>
      client.workflow.start(workflowTypes.publishEvents, {
        // Of its own for each attempt: one that was started with the first of them may lack the others.
        workflowId: workflowIds.publishEvents(randomUUID()),
        taskQueue: taskQueues.commerce,
        args: [{ events: views }],
        typedSearchAttributes: [{ key: searchAttributes.eventType, value: 'ProductViewed' }],
      }),
    );
  };
}
