/**
 * Starts workflows and returns only when Temporal has acknowledged them, or already knows the event:
 * then its workflow runs or has finished. A failed start is retried with backoff.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createBackoff } from '../platform/process/waiting';
import {
  isGrpcServiceError,
  WorkflowExecutionAlreadyStartedError,
  type Client,
  type WorkflowStartOptions,
} from '@temporalio/client';
import { TypedSearchAttributes } from '@temporalio/common';
import { placeOf } from '../events/received';
import type { Logger } from '../platform/observability/logger';
import { duplicatesRefused } from '../platform/observability/telemetry';
import { searchAttributes, taskQueues, workflowTypes } from '../events/workflow-names';
import { inTraceOf } from './message-trace';
import { createPause, type Pause } from './pause';
import type { WorkflowPlan } from './workflow-plan';

export interface WorkflowStarterDependencies {
  readonly client: Client;
  readonly logger: Logger;
}

/** Starts planned workflows. */
export interface WorkflowStarter {
  /**
   * Returns once Temporal has acknowledged the start. Retries with backoff while Temporal is
   * unavailable.
   *
   * @returns whether a workflow runs with this very input; otherwise Temporal knows a workflow of this
   *   event ID, which runs or has finished, and may have been started for another message
   * @throws when aborted; StartRejectedError when the start is not retryable
   */
  start(plan: WorkflowPlan, signal: AbortSignal): Promise<boolean>;
}

/** Temporal rejects this start for its size. Not retryable. */
export class StartRejectedError extends Error {
  override readonly name = 'StartRejectedError';
  readonly code = 'START_REFUSED';
}

export interface WorkflowStarterOptions {
  /**
   * Eager start: whether Temporal may return the workflow's first task with its response, for a worker
   * on the client's own connection that has a free slot. False by default.
   */
  readonly eagerStart?: boolean;
}

/** A starter on a Temporal client. */
export function createWorkflowStarter(
  dependencies: WorkflowStarterDependencies,
  { eagerStart = false }: WorkflowStarterOptions = {},
): WorkflowStarter {
  const pause = createPause('temporal-away');
  const attempt: StartAttempt = (plan) => attemptStart(dependencies, plan, eagerStart);
  return { start: (plan, signal) => startWithBackoff(attempt, pause, plan, signal) };
}

type StartAttempt = (plan: WorkflowPlan) => Promise<'started' | 'known' | 'unavailable'>;

async function startWithBackoff(
  attempt: StartAttempt,
  pause: Pause,
  plan: WorkflowPlan,
  signal: AbortSignal,
): Promise<boolean> {
  signal.throwIfAborted();
  const answer = await attempt(plan);
  if (answer !== 'unavailable') return answer === 'started';
  return pause.during(() => startAgain(attempt, plan, signal));
}

async function startAgain(
  attempt: StartAttempt,
  plan: WorkflowPlan,
  signal: AbortSignal,
): Promise<boolean> {
  const backoff = createBackoff({ firstMs: 100, longestMs: 5_000 });
  for (;;) {
    await sleep(backoff.next(), undefined, { signal });
    const answer = await attempt(plan);
    if (answer !== 'unavailable') return answer === 'started';
  }
}

async function attemptStart(
  { client, logger }: WorkflowStarterDependencies,
  plan: WorkflowPlan,
  eagerStart: boolean,
): ReturnType<StartAttempt> {
  const options = { ...startOptions(plan), requestEagerStart: eagerStart };
  try {
    await inTraceOf(plan, () => client.workflow.start(plan.type, options));
    return 'started';
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) {
      duplicatesRefused.inc({ guard: 'workflow_id' });
      return 'known';
    }
    if (isPermanentRejection(error)) {
      throw new StartRejectedError('Temporal rejects the start of the workflow as too large.', {
        cause: error,
      });
    }
    const { workflowId } = plan;
    logger.warn(
      { err: error, workflowId },
      'Temporal unavailable; retrying the workflow start with backoff',
    );
    return 'unavailable';
  }
}

// gRPC's INVALID_ARGUMENT, for the size of the input, or RESOURCE_EXHAUSTED, for that of the whole
// request. Anything else, such as a missing search attribute or a rate limit, is not the event's fault:
// it is retried until that is fixed.
function isPermanentRejection(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return (
    isGrpcServiceError(cause) &&
    [3, 8].includes(Number(cause.code)) &&
    // On a worker's connection the server's details are in the message.
    /exceeds|too large|larger than/i.test(cause.details || cause.message)
  );
}

/** The workflow's summary in the Web UI. */
function summaryOf(plan: WorkflowPlan): string {
  switch (plan.type) {
    case workflowTypes.handleEvent:
      return `${plan.event.type} of ${plan.event.subject}`;
    case workflowTypes.handleEventBatch: {
      const [events] = plan.input;
      const [first] = events;
      return events.length === 1
        ? `${placeOf(first!)}, possibly a duplicate`
        : `${events.length} events of ${Object.keys(plan.offsets).join(', ')}`;
    }
    case workflowTypes.recordVanishedOffsets: {
      const [{ topic, partition, from, to }] = plan.input;
      return `offsets ${from} to ${to ?? 'unknown'} of ${topic}/${partition} vanished unread`;
    }
    case workflowTypes.parkDeadLetter: {
      const [message] = plan.input;
      return `${message.reason}: the message at ${placeOf(message)}`;
    }
  }
}

function startOptions(plan: WorkflowPlan): WorkflowStartOptions {
  const { workflowId, input } = plan;
  const common = {
    workflowId,
    staticSummary: summaryOf(plan),
    taskQueue: taskQueues.collector,
    args: input,
  } as const;
  if (plan.type !== workflowTypes.handleEvent) {
    return {
      ...common,
      ...(plan.type === workflowTypes.handleEventBatch ? { memo: { offsets: plan.offsets } } : {}),
      workflowIdConflictPolicy: 'USE_EXISTING',
      // The ID has coordinates, which repeat in a recreated topic. The effects are idempotent.
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    };
  }
  const { type, subject } = plan.event;
  return {
    ...common,
    // Joining a running workflow would hide that it was started for another message.
    workflowIdConflictPolicy: 'FAIL',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
    typedSearchAttributes: new TypedSearchAttributes([
      { key: searchAttributes.eventType, value: type },
      { key: searchAttributes.aggregateId, value: subject },
    ]),
  };
}
