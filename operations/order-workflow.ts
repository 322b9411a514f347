/**
 * What the workflow of an order has done so far, and what it is at: its activities, each with how often it was
 * tried. Read from Temporal, of the order's last run alone: an order that is cancelled after it was decided, or
 * that the delivery audit resumes, has several.
 */
import {
  isGrpcServiceError,
  ServiceError,
  WorkflowNotFoundError,
  type Client,
  type WorkflowExecutionDescription,
} from '@temporalio/client';
import { decodeOptionalFailureToOptionalError } from '@temporalio/common/lib/internal-non-workflow';
import { temporal } from '@temporalio/proto';
import { workflowIds } from '../events/workflow-ids';

/** A step of the workflow that needs a server. Times are RFC 3339. */
export interface WorkflowActivity {
  /** Its name, such as `chargeOrder`. */
  readonly activity: string;
  readonly state: ActivityState;
  /** Attempts that have started; of one within a workflow task at most 1. */
  readonly attempts: number;
  readonly scheduledAt: string;
  /** When it succeeded, or was given up; null while it goes on. */
  readonly endedAt: string | null;
  /** When the next attempt begins; null unless one is waited for. */
  readonly nextAttemptAt: string | null;
  /** Why the last attempt that is known of failed. */
  readonly error: string | null;
  /** The type of that error, such as `PaymentInProgressError`. */
  readonly errorType: string | null;
}

/**
 * `queued`: no worker has taken it yet. `retrying`: the last attempt failed, and the next one is waited for.
 * `abandoned`: the workflow no longer waits for it.
 */
type ActivityState = 'queued' | 'running' | 'retrying' | 'succeeded' | 'failed' | 'abandoned';

/** The last run of an order's workflow. */
export interface OrderWorkflow {
  /** As Temporal names it, such as `RUNNING`. */
  readonly status: string;
  /** Whose order it is; null for a run that carries on a stored order. */
  readonly userId: string | null;
  readonly startedAt: string;
  /** Since when it waits for a worker to carry it on; null while it waits for nothing, or for an activity. */
  readonly queuedSince: string | null;
  /** In the order in which they were begun. */
  readonly activities: readonly WorkflowActivity[];
}

/** How long Temporal may take, in ms. */
const timeoutMs = 2_000;

/**
 * Reads the workflow of an order.
 *
 * @returns null when the order has none; undefined when Temporal is unavailable
 */
export async function readOrderWorkflow(
  client: Client,
  orderId: string,
): Promise<OrderWorkflow | null | undefined> {
  const handle = client.workflow.getHandle(workflowIds.placeOrder(orderId));
  try {
    return await client.withDeadline(Date.now() + timeoutMs, async () => {
      // In this order: what ends in between is seen as ended in both, or as pending and ended, and never lost.
      const description = await handle.describe();
      const history = await handle.fetchHistory();
      return toOrderWorkflow(description, await activitiesOf(client, description, history));
    });
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    if (error instanceof ServiceError || isGrpcServiceError(error)) return undefined;
    throw error;
  }
}

function toOrderWorkflow(
  { status, startTime, memo, raw }: WorkflowExecutionDescription,
  activities: WorkflowActivity[],
): OrderWorkflow {
  const task = raw.pendingWorkflowTask;
  const isQueued = task?.state === PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED;
  return {
    status: status.name,
    userId: (memo?.['userId'] as string | undefined) ?? null,
    startedAt: startTime.toISOString(),
    queuedSince: isQueued ? timeOf(task.originalScheduledTime ?? task.scheduledTime) : null,
    activities,
  };
}

async function activitiesOf(
  client: Client,
  { raw }: WorkflowExecutionDescription,
  history: History,
): Promise<WorkflowActivity[]> {
  const ended = endedActivities(history);
  const pending = (raw.pendingActivities ?? []).map((each) => pendingActivity(each, history));
  const all = [...ended, ...pending].sort((a, b) => a.scheduledAt.localeCompare(b.scheduledAt));
  const converter = client.options.loadedDataConverter;
  return Promise.all(
    all.map(async ({ failure, ...activity }) => {
      // With payloads encrypted, so are the messages of failures.
      const error = await decodeOptionalFailureToOptionalError(converter, failure);
      const errorType = failure?.applicationFailureInfo?.type ?? null;
      return { ...activity, error: error?.message ?? null, errorType };
    }),
  );
}

const { PendingActivityState, PendingWorkflowTaskState } = temporal.api.enums.v1;
type History = temporal.api.history.v1.IHistory;
type HistoryEvent = temporal.api.history.v1.IHistoryEvent;
type Failure = temporal.api.failure.v1.IFailure;
type Time = HistoryEvent['eventTime'];

/** An activity whose failure is still as Temporal has it. */
export type UndecodedActivity = Omit<WorkflowActivity, 'error' | 'errorType'> & {
  readonly failure: Failure | null;
};

/** An activity that has not ended, from when it was first scheduled: Temporal gives only the last attempt's. */
export function pendingActivity(
  pending: temporal.api.workflow.v1.IPendingActivityInfo,
  { events }: History,
): UndecodedActivity {
  const { activityId, activityType, state, lastFailure = null } = pending;
  const first = events?.find(
    ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.activityId === activityId,
  );
  const attempt = pending.attempt ?? 1;
  const isStarted = state === PendingActivityState.PENDING_ACTIVITY_STATE_STARTED;
  const isAbandoned = state === PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED;
  const isQueued = !isStarted && attempt <= 1;
  return {
    activity: activityType?.name ?? '',
    state: isAbandoned ? 'abandoned' : isStarted ? 'running' : isQueued ? 'queued' : 'retrying',
    attempts: isStarted || isAbandoned ? attempt : attempt - 1,
    scheduledAt: timeOf(first?.eventTime ?? pending.scheduledTime),
    endedAt: null,
    nextAttemptAt: isStarted || isAbandoned || isQueued ? null : nextAttemptOf(pending),
    failure: lastFailure,
  };
}

function nextAttemptOf({
  nextAttemptScheduleTime: next,
}: temporal.api.workflow.v1.IPendingActivityInfo): string | null {
  return next ? timeOf(next) : null;
}

/**
 * The activities that a history says have ended. Those that are under way are not in it: Temporal writes down
 * that an activity was started once it has ended.
 */
export function endedActivities({ events }: History): UndecodedActivity[] {
  const all = events ?? [];
  const scheduled = new Map(
    all.flatMap((event) => {
      const attributes = event.activityTaskScheduledEventAttributes;
      return attributes ? [[String(event.eventId), { event, attributes }] as const] : [];
    }),
  );
  const started = new Map(
    all.flatMap(({ activityTaskStartedEventAttributes: attributes }) =>
      attributes ? [[String(attributes.scheduledEventId), attributes] as const] : [],
    ),
  );
  return all.flatMap((event): UndecodedActivity[] => {
    const local = endedLocally(event);
    if (local !== undefined) return [local];
    const end = endOf(event);
    const beginning = scheduled.get(String(end?.scheduledEventId));
    if (end === undefined || beginning === undefined) return [];
    const last = started.get(String(end.scheduledEventId));
    return [
      {
        activity: beginning.attributes.activityType?.name ?? '',
        state: end.state,
        attempts: last?.attempt ?? 0,
        scheduledAt: timeOf(beginning.event.eventTime),
        endedAt: timeOf(event.eventTime),
        nextAttemptAt: null,
        failure: end.failure ?? last?.lastFailure ?? null,
      },
    ];
  });
}

interface ActivityEnd {
  readonly state: 'succeeded' | 'failed' | 'abandoned';
  readonly scheduledEventId: HistoryEvent['eventId'];
  readonly failure?: Failure | null;
}

function endOf(event: HistoryEvent): ActivityEnd | undefined {
  const {
    activityTaskCompletedEventAttributes: completed,
    activityTaskFailedEventAttributes: failed,
    activityTaskTimedOutEventAttributes: timedOut,
    activityTaskCanceledEventAttributes: cancelled,
  } = event;
  if (completed) return { state: 'succeeded', scheduledEventId: completed.scheduledEventId };
  const failure = failed ?? timedOut;
  if (failure) {
    return {
      state: 'failed',
      scheduledEventId: failure.scheduledEventId,
      failure: failure.failure ?? null,
    };
  }
  if (cancelled) return { state: 'abandoned', scheduledEventId: cancelled.scheduledEventId };
  return undefined;
}

/** What Temporal's SDK notes of an activity that ran within a workflow task. */
interface LocalActivityNote {
  readonly activity_type: string;
  readonly attempt: number;
  readonly complete_time: Timestamp | null;
  readonly original_schedule_time: Timestamp | null;
}

interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}

function endedLocally({
  eventTime,
  markerRecordedEventAttributes: marker,
}: HistoryEvent): UndecodedActivity | undefined {
  const data = marker?.details?.['data']?.payloads?.[0]?.data;
  if (marker?.markerName !== 'core_local_activity' || !data) return undefined;
  const note = JSON.parse(Buffer.from(data).toString()) as LocalActivityNote;
  const failure = marker.failure ?? null;
  return {
    activity: note.activity_type,
    state: failure === null ? 'succeeded' : failure.canceledFailureInfo ? 'abandoned' : 'failed',
    attempts: note.attempt,
    scheduledAt: timeOf(note.original_schedule_time ?? eventTime),
    endedAt: timeOf(note.complete_time ?? eventTime),
    nextAttemptAt: null,
    failure,
  };
}

function timeOf(time: Timestamp | Time): string {
  const ms = Number(time?.seconds ?? 0) * 1_000 + Math.floor((time?.nanos ?? 0) / 1_000_000);
  return new Date(ms).toISOString();
}
