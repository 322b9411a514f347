/**
 * Passes the trace that a workflow was started with on to its activities, unchanged: for workers that
 * record no traces themselves. It is no workflow, but is bundled with them.
 */
import type { Headers } from '@temporalio/common';
import type { WorkflowInterceptors } from '@temporalio/workflow';

/** Under which name Temporal's interceptors for OpenTelemetry carry a trace. */
const traceHeader = '_tracer-data';

/** Interceptors of one workflow. They add no command and no turn to it, only a header. */
export function interceptors(): WorkflowInterceptors {
  let carried: Headers = {};
  return {
    inbound: [
      {
        execute(input, next) {
          const trace = input.headers[traceHeader];
          if (trace !== undefined) carried = { [traceHeader]: trace };
          return next(input);
        },
      },
    ],
    outbound: [
      {
        scheduleActivity: (input, next) =>
          next({ ...input, headers: { ...input.headers, ...carried } }),
        scheduleLocalActivity: (input, next) =>
          next({ ...input, headers: { ...input.headers, ...carried } }),
      },
    ],
  };
}
