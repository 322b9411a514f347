/** What an order waits for, as far as its rows and its workflow show it, and what to do about it. */
import type { OrderStatus } from '../events/orders';
import { taskQueues, waitingTaskQueues } from '../events/workflow-names';
import type { OrderWorkflow, WorkflowActivity } from './order-workflow';

/** What an order waits for. */
export interface OrderWaiting {
  readonly for: WaitingFor;
  /** RFC 3339; null where nothing says it. */
  readonly since: string | null;
  /** How often the step was tried; null where nothing is tried. */
  readonly attempts: number | null;
  /** Why the last attempt failed. */
  readonly lastError: string | null;
  /** In a sentence, for a person. */
  readonly what: string;
  /** What to do, for a person. */
  readonly advice: string;
  /** The section of the runbook, as a path in the project. */
  readonly runbook: string;
}

/**
 * `gateway`: the payment gateway. `database`: PostgreSQL. `outbox`: Kafka, for events that are written but not
 * published. `worker`: a worker, to take it from a task queue, or to end what it has in hand. `audit`: its workflow
 * has ended too early; the delivery audit carries it on. `unknown`: Temporal is unavailable, so nobody can say.
 */
export const waitingFor = ['gateway', 'database', 'outbox', 'worker', 'audit', 'unknown'] as const;

type WaitingFor = (typeof waitingFor)[number];

/** What is known of an order that may be waiting. */
export interface KnownOfOrder {
  /** Null while it is not stored. */
  readonly status: OrderStatus | null;
  /** Since when its oldest unpublished event waits; null when all are published. */
  readonly unpublishedSince: string | null;
  /** Null when it has none, undefined when Temporal is unavailable. */
  readonly workflow: OrderWorkflow | null | undefined;
}

/** What an order waits for; null when it is decided and all of its events are published. */
export function waitingOf(known: KnownOfOrder): OrderWaiting | null {
  const isDecided = known.status === 'CONFIRMED' || known.status === 'CANCELLED';
  const running = known.workflow?.status === 'RUNNING' ? known.workflow : null;
  const pending = running === null ? undefined : pendingOf(running, known);
  if (isDecided && known.unpublishedSince === null && pending === undefined) return null;
  if (known.workflow === undefined) return unknown(known);
  if (running === null) return left(known, isDecided);
  if (pending !== undefined) return atActivity(pending);
  if (running.queuedSince === null) return carriedOn;
  return forWorker(
    running.queuedSince,
    'The workflow waits for a worker to carry it on.',
    taskQueues.commerce,
  );
}

// A cancellation goes on while the events of before are being published, and is what the order waits for.
function pendingOf(
  { activities }: OrderWorkflow,
  { unpublishedSince }: KnownOfOrder,
): WorkflowActivity | undefined {
  const pending = activities.filter(({ state }) =>
    ['queued', 'running', 'retrying'].includes(state),
  );
  const step = pending.find(({ activity }) => activity !== 'publishOutbox');
  return step ?? (unpublishedSince === null ? undefined : pending[0]);
}

function atActivity(pending: WorkflowActivity): OrderWaiting {
  const { activity, state, scheduledAt: since, attempts, error: lastError } = pending;
  const place = placeOf(activity);
  if (state === 'queued') {
    return forWorker(since, `${activity} waits for a worker to take it.`, place.taskQueue);
  }
  const waiting = { since, attempts, lastError };
  if (pending.errorType === 'PaymentInProgressError') {
    return { ...waiting, ...inProgress, what: `${activity}: ${inProgress.what}` };
  }
  return { ...waiting, ...place.waiting, what: `${activity}: ${place.waiting.what}` };
}

type Place = Pick<OrderWaiting, 'for' | 'what' | 'advice' | 'runbook'>;

const gateway: Place = {
  for: 'gateway',
  what: 'the payment gateway has not answered.',
  advice:
    'Restore the payment gateway. The order goes on by itself: nobody pays twice, and what cannot be paid is cancelled once the gateway has said that it holds no money.',
  runbook: 'docs/runbook.md#paymentgatewayfailing',
};

const inProgress: Place = {
  for: 'gateway',
  what: 'the payment gateway is still carrying out an earlier call.',
  advice:
    'Wait. If it takes minutes, have the operator of the gateway end the payment; the order goes on by itself.',
  runbook: 'docs/runbook.md#paymentinprogressforlong',
};

const database: Place = {
  for: 'database',
  what: 'PostgreSQL has not carried it out.',
  advice: 'Follow the last error. Restore PostgreSQL; the order goes on by itself.',
  runbook: 'docs/runbook.md#ordersundecided',
};

const outbox: Place = {
  for: 'outbox',
  what: 'Kafka has not acknowledged its events.',
  advice: 'Restore Kafka. The events are published within seconds; the order itself is decided.',
  runbook: 'docs/runbook.md#outboxnotpublished',
};

/** What an activity calls, and the task queue that it waits in. */
function placeOf(activity: string): { readonly waiting: Place; readonly taskQueue: string } {
  switch (activity) {
    case 'chargeOrder':
    case 'findCharge':
      return { waiting: gateway, taskQueue: waitingTaskQueues.payments };
    case 'voidPayment':
      return { waiting: gateway, taskQueue: waitingTaskQueues.refunds };
    case 'publishOutbox':
      return { waiting: outbox, taskQueue: taskQueues.commerce };
    default:
      return { waiting: database, taskQueue: waitingTaskQueues.state };
  }
}

function forWorker(since: string | null, what: string, taskQueue: string): OrderWaiting {
  return {
    for: 'worker',
    since,
    attempts: null,
    lastError: null,
    what,
    advice: `Seconds are usual. Longer: no worker polls the task queue ${taskQueue}, or all of its slots are taken; start a worker:commerce.`,
    runbook: 'docs/runbook.md#ordersundecided',
  };
}

// A worker has its workflow task, in which it reserves and charges without telling Temporal of it before the end.
const carriedOn: OrderWaiting = {
  for: 'worker',
  since: null,
  attempts: null,
  lastError: null,
  what: 'A worker is carrying the workflow on.',
  advice:
    'Wait: it takes seconds. Look again; what it cannot do by then is told as a step that is retried.',
  runbook: 'docs/runbook.md#ordersundecided',
};

function left({ unpublishedSince }: KnownOfOrder, isDecided: boolean): OrderWaiting {
  const nothing = { attempts: null, lastError: null, for: 'audit' } as const;
  const runbook = 'docs/runbook.md#auditfindings';
  if (isDecided) {
    return {
      ...nothing,
      runbook,
      since: unpublishedSince,
      what: 'Its workflow has ended, and its events are not published.',
      advice: 'Wait: the delivery audit publishes them once they are five minutes old.',
    };
  }
  return {
    ...nothing,
    runbook,
    since: null,
    what: 'No workflow is running for it: it was terminated, or it failed.',
    advice:
      'Wait: the delivery audit resumes it once it is ten minutes old. Or cancel it, which resumes it at once.',
  };
}

function unknown({ unpublishedSince }: KnownOfOrder): OrderWaiting {
  return {
    for: 'unknown',
    since: unpublishedSince,
    attempts: null,
    lastError: null,
    what: 'Temporal is unavailable, so nobody can say what the order waits for.',
    advice: 'Restore Temporal. The order goes on by itself.',
    runbook: 'docs/runbook.md#requestsfailing',
  };
}
