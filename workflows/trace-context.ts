/**
 * Propagates the trace that a workflow was started with to its activities, for workers that record no
 * traces. Not a workflow, but bundled with them.
 */
import type { Headers } from '@temporalio/common';
import type { WorkflowInterceptors } from '@temporalio/workflow';

/** The header in which Temporal's OpenTelemetry interceptors carry a trace. */
const traceHeader = '_tracer-data';

/** Interceptors of one workflow. They add no command and no asynchronous turn, only a header. */
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
