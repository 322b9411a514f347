/** Around every activity attempt: trace, log context and duration. */
import { OpenTelemetryActivityInboundInterceptor } from '@temporalio/interceptors-opentelemetry/lib/worker';
import { CancelledFailure, type Context } from '@temporalio/activity';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { withLogFields, type WorkLogFields } from '../platform/observability/logger';
import { activityDuration } from '../platform/observability/telemetry';
import { traceLogFields } from '../platform/observability/tracing';
import { workflowTypes } from '../events/workflow-names';

/** The activity interceptors of a worker, the outermost first. */
export const activityInterceptors: readonly ActivityInterceptorsFactory[] = [
  (activity) => ({
    inbound: new OpenTelemetryActivityInboundInterceptor(activity),
    outbound: {
      // For lines that an activity logs through Temporal, which reach our log later.
      getLogAttributes: (input, next) =>
        next({ ...input, ...traceLogFields(), ...workOf(activity) }),
    },
  }),
  (activity) => ({
    inbound: {
      execute: (input, next) =>
        withLogFields(workOf(activity), () =>
          observed(activity.info.activityType, () => next(input)),
        ),
    },
  }),
];

/** The context of an activity. An event's workflow has the event's ID. */
function workOf({ info: { workflowExecution, workflowType } }: Context): WorkLogFields {
  if (workflowExecution === undefined) return {};
  const { workflowId, runId } = workflowExecution;
  const event = workflowType === workflowTypes.handleEvent ? { eventId: workflowId } : {};
  return { ...event, workflowId, runId };
}

async function observed(activity: string, work: () => Promise<unknown>): Promise<unknown> {
  const stopTimer = activityDuration.startTimer({ activity });
  try {
    const result = await work();
    stopTimer({ outcome: 'completed' });
    return result;
  } catch (error) {
    stopTimer({ outcome: error instanceof CancelledFailure ? 'cancelled' : 'failed' });
    throw error;
  }
}
