/**
 * Retry and timeout policies of the activities: one for each reason to wait, and local activities
 * first.
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
 * Local activities: a few attempts within seconds. Limited by attempts, since a local activity's
 * `scheduleToCloseTimeout` restarts with each of them and would never end them.
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

/** For work on PostgreSQL or Redis that must happen: unlimited retries, visible in the Web UI. */
export const untilItSucceeds: ActivityOptions = {
  startToCloseTimeout: '15 seconds',
  retry: {
    initialInterval: '500 milliseconds',
    backoffCoefficient: 2,
    maximumInterval: '10 seconds',
  },
};

/**
 * For what the brokers must acknowledge: unlimited retries. The timeout of an attempt outlasts the
 * sender's own retries; the heartbeat detects a killed worker earlier.
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
 * Activities that run as local activities first, which costs Temporal a fraction, and fall back to
 * ordinary activities with unlimited retries if they fail for seconds.
 *
 * @throws ActivityFailure only for permanent failures, or when cancelled
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
        // Permanent failures fall back to the ordinary activity, too, which fails at once: only its
        // failure names the activity and is visible in the Web UI.
        if (isCancellation(error)) throw error;
        return patient[name]!(...input);
      }
    };
  return new Proxy({}, { get: (_, name) => call(String(name)) }) as Activities;
}

/** Whether an activity failed permanently. */
export function isFinal(error: unknown): boolean {
  if (isCancellation(error)) return true;
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof ApplicationFailure &&
    error.cause.nonRetryable === true
  );
}
