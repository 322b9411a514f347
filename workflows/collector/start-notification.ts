/** Starts the delivery of a notification, which outlives the workflow that starts it. */
import type { ReceivedEvent } from '../../events/received';
import { workflowIds } from '../../events/workflow-ids';
import { searchAttributes, taskQueues, workflowTypes } from '../../events/workflow-names';
import { startUnlessRunning } from '../start-unless-running';

/** Starts `notify`, unless it runs. Its receiver may be away for long, so nothing waits for its end. */
export function startNotification(name: string, event: ReceivedEvent): Promise<void> {
  return startUnlessRunning(workflowTypes.notify, {
    workflowId: workflowIds.notify(name, event.eventId),
    taskQueue: taskQueues.collector,
    args: [name, event],
    staticSummary: `${name} of ${event.key}`,
    typedSearchAttributes: [{ key: searchAttributes.aggregateId, value: event.key }],
  });
}
