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
  TimeoutFailure,
  type ActivityOptions,
  type LocalActivityOptions,
} from '@temporalio/workflow';
import { waitingTaskQueues } from '../events/workflow-names';

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
 * The same for the shop's state, in slots of its own: a database that is slow takes none of those in
 * which events are published.
 */
export const untilStateChanges: ActivityOptions = {
  ...untilItSucceeds,
  taskQueue: waitingTaskQueues.state,
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
 * ordinary activities with unlimited retries if they fail for seconds. One at a time: of those side by
 * side see {@link localAttempts}.
 *
 * @throws ActivityFailure only for permanent failures, or when cancelled
 */
export function localFirst<Activities extends object>(
  ordinary: ActivityOptions = untilItSucceeds,
): Activities {
  const attempts = attemptsByName(ordinary);
  const call =
    (name: string) =>
    async (...input: unknown[]): Promise<unknown> =>
      (await attempts(name)(...input))();
  return new Proxy({}, { get: (_, name) => call(String(name)) }) as Activities;
}

/** What follows a local attempt: its result or, in its place, the ordinary activity. */
export type AfterAttempt<Result> = () => Promise<Result>;

/** The same activities, each as its local attempt alone. */
export type LocalAttempts<Activities> = {
  readonly [Name in keyof Activities]: Activities[Name] extends (
    ...input: infer Input
  ) => Promise<infer Result>
    ? (...input: Input) => Promise<AfterAttempt<Result>>
    : never;
};

/**
 * The local attempts of {@link localFirst}, for several side by side. Whatever follows them may begin only
 * when all have ended. A history keeps when the attempts of a workflow task ended, and no order between
 * that and the commands that follow: in a replay they end together, and what followed one while another
 * was still under way would then be repeated in another order, which blocks the workflow.
 */
export function localAttempts<Activities extends object>(
  ordinary: ActivityOptions = untilItSucceeds,
): LocalAttempts<Activities> {
  const attempts = attemptsByName(ordinary);
  return new Proxy({}, { get: (_, name) => attempts(String(name)) }) as LocalAttempts<Activities>;
}

function attemptsByName(ordinary: ActivityOptions) {
  const cheap = proxyLocalActivities(withinSeconds);
  const patient = proxyActivities(ordinary);
  return (name: string) =>
    async (...input: unknown[]): Promise<AfterAttempt<unknown>> => {
      try {
        const result: unknown = await cheap[name]!(...input);
        return () => Promise.resolve(result);
      } catch (error) {
        // Permanent failures fall back to the ordinary activity, too, which fails at once: only its
        // failure names the activity and is visible in the Web UI.
        if (isCancellation(error)) throw error;
        return () => patient[name]!(...input);
      }
    };
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

/** Whether an activity was given up since its time was over. */
export function isTimedOut(error: unknown): boolean {
  if (!(error instanceof ActivityFailure)) return false;
  // Where no time is left for another attempt, the failure is that of the last one.
  return error.cause instanceof TimeoutFailure || error.retryState === 'TIMEOUT';
}
