/** Traces of workflow starts. */
import {
  readHeader,
  type ReceivedEvent,
  type RefusedMessage,
  type RefusedOffsets,
  type VanishedOffsets,
} from '../events/received';
import { withLogFields } from '../platform/observability/logger';
import { continueTrace, traceparentHeader } from '../platform/observability/tracing';
import type { WorkflowPlan } from './workflow-plan';

type Refused = RefusedMessage | RefusedOffsets | VanishedOffsets;

/** Runs the start of a workflow within the trace of its message; for several messages, linked to each. */
export function inTraceOf<T>(plan: WorkflowPlan, start: () => Promise<T>): Promise<T> {
  const messages = messagesOf(plan);
  const topics = distinct(messages.map(({ topic }) => topic));
  const partitions = distinct(messages.map(({ partition }) => String(partition)));
  const work = {
    name: `consume ${plan.type === 'handleEvent' ? plan.event.type : topics}`,
    kind: 'consumer',
    attributes: {
      'messaging.system': 'kafka',
      'messaging.destination.name': topics,
      'messaging.destination.partition.id': partitions,
      'messaging.batch.message_count': messages.length,
    },
  } as const;
  const { workflowId } = plan;
  const fields =
    plan.type === 'handleEvent' ? { eventId: plan.event.id, workflowId } : { workflowId };
  return continueTrace(messages.map(traceparentOf), work, () => withLogFields(fields, start));
}

/** Of a batch several. */
function distinct(values: readonly string[]): string {
  return [...new Set(values)].join(', ');
}

function messagesOf({ type, input }: WorkflowPlan): readonly (ReceivedEvent | Refused)[] {
  return type === 'handleEventBatch' ? input[0] : [input[0]];
}

function traceparentOf(message: ReceivedEvent | Refused): string | undefined {
  return 'headers' in message ? readHeader(message.headers, traceparentHeader) : undefined;
}
