/**
 * Starts workflows and returns only when Temporal has acknowledged them, or has answered that it
 * knows the event: then its workflow runs or has finished. A failed one is tried again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
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

/** What the starter needs. */
export interface WorkflowStarterDependencies {
  readonly client: Client;
  readonly logger: Logger;
}

/** Starts planned workflows. */
export interface WorkflowStarter {
  /**
   * Returns once Temporal has acknowledged the start. Tries again while Temporal is away.
   *
   * @returns whether a workflow is under way with this very input; otherwise Temporal knows a workflow
   * for an event of this ID, which runs or has finished, and may have been started for another message
   * @throws when aborted; StartRefusedError when Temporal will never take this start
   */
  start(plan: WorkflowPlan, signal: AbortSignal): Promise<boolean>;
}

/** Temporal refuses this start as it is; the same start again is refused again. */
export class StartRefusedError extends Error {
  override readonly name = 'StartRefusedError';
  readonly code = 'START_REFUSED';
}

/** Options of the starter. */
export interface WorkflowStarterOptions {
  /**
   * Whether Temporal may answer a start with the workflow's first task, for a worker on the client's
   * own connection; it does so while that worker has a place for it. False by default.
   */
  readonly eagerStart?: boolean;
}

/** A starter on a Temporal client. */
export function createWorkflowStarter(
  dependencies: WorkflowStarterDependencies,
  { eagerStart = false }: WorkflowStarterOptions = {},
): WorkflowStarter {
  const pause = createPause('temporal-away');
  const tryOnce: TryToStart = (plan) => tryToStart(dependencies, plan, eagerStart);
  return { start: (plan, signal) => startPatiently(tryOnce, pause, plan, signal) };
}

type TryToStart = (plan: WorkflowPlan) => Promise<'started' | 'known' | 'not-taken'>;

const firstDelayMs = 100;
const longestDelayMs = 5_000;

async function startPatiently(
  tryOnce: TryToStart,
  pause: Pause,
  plan: WorkflowPlan,
  signal: AbortSignal,
): Promise<boolean> {
  signal.throwIfAborted();
  const answer = await tryOnce(plan);
  if (answer !== 'not-taken') return answer === 'started';
  return pause.during(() => startAgain(tryOnce, plan, signal));
}

async function startAgain(
  tryOnce: TryToStart,
  plan: WorkflowPlan,
  signal: AbortSignal,
): Promise<boolean> {
  for (let delayMs = firstDelayMs; ; delayMs = Math.min(delayMs * 2, longestDelayMs)) {
    await sleep(delayMs, undefined, { signal });
    const answer = await tryOnce(plan);
    if (answer !== 'not-taken') return answer === 'started';
  }
}

async function tryToStart(
  { client, logger }: WorkflowStarterDependencies,
  plan: WorkflowPlan,
  eagerStart: boolean,
): ReturnType<TryToStart> {
  const options = { ...startOptions(plan), requestEagerStart: eagerStart };
  try {
    await inTraceOf(plan, () => client.workflow.start(plan.type, options));
    return 'started';
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) {
      duplicatesRefused.inc({ guard: 'workflow_id' });
      return 'known';
    }
    if (isRefusal(error)) {
      throw new StartRefusedError(`Temporal refuses to start the workflow.`, { cause: error });
    }
    const { workflowId } = plan;
    logger.warn({ err: error, workflowId }, 'Temporal did not take a start; trying again');
    return 'not-taken';
  }
}

// gRPC's INVALID_ARGUMENT, for the size of the input, or its RESOURCE_EXHAUSTED for that of the whole
// request. For anything else, such as a search attribute that the namespace lacks or a limit of
// requests, the event is not to blame: it waits until that is mended.
function isRefusal(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return (
    isGrpcServiceError(cause) &&
    [3, 8].includes(Number(cause.code)) &&
    // On a worker's connection the server's words are in the message.
    /exceeds|too large|larger than/i.test(cause.details || cause.message)
  );
}

/** What the Web UI says of the workflow beside its ID. */
function summaryOf(plan: WorkflowPlan): string {
  switch (plan.type) {
    case workflowTypes.handleEvent:
      return `${plan.event.type} of ${plan.event.subject}`;
    case workflowTypes.handleEventBatch: {
      const [events] = plan.input;
      const [first] = events;
      return events.length === 1
        ? `${placeOf(first!)}, which may be a repeat`
        : `${events.length} events of ${placeOf(first!)} and on`;
    }
    case workflowTypes.recordVanishedOffsets: {
      const [{ topic, partition, from, to }] = plan.input;
      return `offsets ${from} to ${to ?? 'nobody knows which'} of ${topic}/${partition} vanished unread`;
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
      // Named by coordinates, which a topic made anew has again. Their effects refuse a repeat.
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    };
  }
  const { type, subject } = plan.event;
  return {
    ...common,
    // Joining a running workflow would not tell that it was started for another message.
    workflowIdConflictPolicy: 'FAIL',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
    typedSearchAttributes: new TypedSearchAttributes([
      { key: searchAttributes.eventType, value: type },
      { key: searchAttributes.aggregateId, value: subject },
    ]),
  };
}
