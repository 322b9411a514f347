/**
 * How workflows call activities. One policy for each reason to wait, and one way to try an activity
 * cheaply first.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
  type ActivityOptions,
  type LocalActivityOptions,
} from '@temporalio/workflow';

/**
 * Inside the workflow's own task: a few tries within seconds. The tries are counted, since a local
 * activity's `scheduleToCloseTimeout` starts anew with each of them and would never end them.
 */
const withinSeconds: LocalActivityOptions = {
  startToCloseTimeout: '3 seconds',
  retry: {
    initialInterval: '100 milliseconds',
    backoffCoefficient: 3,
    maximumInterval: '1 second',
    maximumAttempts: 5,
  },
};

/** For work on PostgreSQL or Redis that must happen: retried without end, each try shown in the Web UI. */
export const untilItSucceeds: ActivityOptions = {
  startToCloseTimeout: '15 seconds',
  retry: {
    initialInterval: '500 milliseconds',
    backoffCoefficient: 2,
    maximumInterval: '10 seconds',
  },
};

/**
 * For what the brokers must acknowledge: retried without end. One try outlasts the sender's own
 * retries, so that an answer on its way is not given up; a worker that was killed is noticed earlier.
 */
export const untilAcknowledged: ActivityOptions = {
  startToCloseTimeout: '45 seconds',
  heartbeatTimeout: '10 seconds',
  retry: {
    initialInterval: '200 milliseconds',
    backoffCoefficient: 2,
    maximumInterval: '5 seconds',
  },
};

/**
 * Activities that are tried inside the workflow's own task first, which costs Temporal a fraction,
 * and as ordinary activities with endless retries when that has not worked within seconds.
 *
 * @throws ActivityFailure only for what can never succeed, or when cancelled
 */
export function localFirst<Activities extends object>(
  local: LocalActivityOptions = withinSeconds,
  ordinary: ActivityOptions = untilItSucceeds,
): Activities {
  const cheap = proxyLocalActivities(local);
  const patient = proxyActivities(ordinary);
  const call =
    (name: string) =>
    async (...input: unknown[]): Promise<unknown> => {
      try {
        return await cheap[name]!(...input);
      } catch (error) {
        // Also what can never succeed goes on to the ordinary activity, which fails at once: only its
        // failure says which activity it was, and it is there to be seen in the Web UI.
        if (isCancellation(error)) throw error;
        return patient[name]!(...input);
      }
    };
  return new Proxy({}, { get: (_, name) => call(String(name)) }) as Activities;
}

/** Whether an activity failed in a way that no retry can mend. */
export function isFinal(error: unknown): boolean {
  if (isCancellation(error)) return true;
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof ApplicationFailure &&
    error.cause.nonRetryable === true
  );
}
