/**
 * Starts the workflow of a message or of a batch, whose slot is taken already, and tells the messages'
 * deliveries what came of it.
 */
import { placeOf, type Coordinates, type ReceivedEvent } from '../events/received';
import type { Logger } from '../platform/observability/logger';
import type { FinishedWork } from './finished-work';
import type { InFlight } from './in-flight';
import type { RedeliveryWatch } from './redelivery';
import type { RepeatCounter } from './repeats';
import { messagesOf, type Start, type Waiting, type WaitingEvent } from './start-queue';
import {
  planBatch,
  planParking,
  planParkingByCoordinates,
  type HandlingPlan,
  type ParkingPlan,
} from './workflow-plan';
import { StartRejectedError, type WorkflowStarter } from './workflow-starter';

export interface StartDependencies {
  readonly starter: WorkflowStarter;
  readonly inFlight: InFlight;
  readonly finishedWork: FinishedWork;
  readonly repeats: RepeatCounter;
  readonly logger: Logger;
  readonly redelivery: RedeliveryWatch;
  /** Puts messages at the front of the queue: they are to be started in another way, or again. */
  requeue(messages: readonly Waiting[]): void;
}

/** The ID of the slot that a start takes: one by which the database knows that it is done. */
export function slotOf(start: Start): string {
  return messagesOf(start).at(-1)!.plan.doneBy;
}

/**
 * Returns when Temporal has acknowledged the start, or its messages are requeued or failed. Never
 * throws. When the delivery of one message is aborted, the start is given up, and the others are
 * requeued: they must not wait for Temporal on its behalf, nor it on theirs.
 */
export async function startMessages(dependencies: StartDependencies, start: Start): Promise<void> {
  const messages = messagesOf(start);
  try {
    await withSignalOfAll(messages, (signal) =>
      start.kind === 'single'
        ? startSingle(dependencies, start.message, signal)
        : startBatch(dependencies, start, signal),
    );
  } catch (error) {
    const revoked = messages.filter(({ delivery }) => delivery.signal.aborted);
    if (revoked.length > 0)
      dependencies.requeue(messages.filter(({ delivery }) => !delivery.signal.aborted));
    for (const { delivery } of revoked.length > 0 ? revoked : messages) delivery.fail(error);
  }
}

/** Runs `work` with a signal that is aborted as soon as the delivery of any message is. */
async function withSignalOfAll(
  messages: readonly Waiting[],
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const signals = new Set(messages.map(({ delivery }) => delivery.signal));
  const any = new AbortController();
  const abort = ({ target }: Event): void => any.abort((target as AbortSignal).reason);
  for (const signal of signals) {
    signal.addEventListener('abort', abort);
    if (signal.aborted) any.abort(signal.reason);
  }
  try {
    await work(any.signal);
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', abort);
  }
}

/** Starts the workflow of one message. A message whose start Temporal rejects is to be parked. */
async function startSingle(
  { starter, inFlight, logger, requeue }: StartDependencies,
  message: Waiting,
  signal: AbortSignal,
): Promise<void> {
  const { plan, delivery } = message;
  try {
    if (await starter.start(plan, signal)) {
      inFlight.started(plan);
      delivery.acknowledge();
      return;
    }
    inFlight.release(plan.doneBy);
  } catch (error) {
    inFlight.release(plan.doneBy);
    if (!(error instanceof StartRejectedError)) throw error;
    requeue([toBeParked(logger, message, error)]);
    return;
  }
  if (plan.type === 'handleEvent') delivery.postpone({ ...message, isKnown: true });
  else delivery.acknowledge();
}

/** Starts one workflow for many events. What Temporal rejects is to be started one by one. */
async function startBatch(
  dependencies: StartDependencies,
  start: Extract<Start, { readonly kind: 'batch' }>,
  signal: AbortSignal,
): Promise<void> {
  const { starter, inFlight, repeats, requeue } = dependencies;
  const { events } = start;
  const handled = await findHandled(dependencies, events);
  const toCompare = events.filter(({ plan }) => !isLoggedCopy(plan, handled));
  const left = unique(toCompare);
  if (left.length === 0) {
    inFlight.release(slotOf(start));
    await repeats.count(events.map(receivedOf));
    acknowledge(events);
    return;
  }
  // Handled events may still have to be compared. But the slot becomes free when the rest is handled,
  // too.
  const last = left.findLast(({ plan }) => !handled.has(plan.event.id)) ?? left.at(-1)!;
  const plan = planBatch(left.map(receivedOf), last.plan.doneBy);
  inFlight.rename(slotOf(start), plan.doneBy);
  try {
    await starter.start(plan, signal);
    inFlight.started(plan);
    const started = new Set(left);
    await repeats.count(events.filter((event) => !started.has(event)).map(receivedOf));
    acknowledge(events);
  } catch (error) {
    inFlight.release(plan.doneBy);
    if (!(error instanceof StartRejectedError)) throw error;
    const parts = inSmallerParts(dependencies, toCompare, error);
    const copies = events.filter((event) => isLoggedCopy(event.plan, handled));
    await repeats.count(copies.map(receivedOf));
    acknowledge(copies);
    requeue(parts);
  }
}

function receivedOf({ plan: { input } }: WaitingEvent): ReceivedEvent {
  return input[0];
}

function acknowledge(messages: readonly Waiting[]): void {
  for (const { delivery } of messages) delivery.acknowledge();
}

/** What Temporal has rejected as a batch: one by one; what was by itself already is to be parked. */
function inSmallerParts(
  { logger }: StartDependencies,
  events: readonly WaitingEvent[],
  rejection: StartRejectedError,
): Waiting[] {
  const [only] = events;
  if (events.length === 1 && only !== undefined) {
    return [toBeParked(logger, only, rejection)];
  }
  logger.warn(
    { err: rejection, events: events.length },
    'Temporal rejected a batch as too large; starting one workflow per event',
  );
  return events.map((event) => ({ ...event, mayShare: false }));
}

/**
 * Looks for those events that are known or may have been redelivered: after a replay most of a batch may
 * be handled already.
 *
 * @returns the logged copy's coordinates of those events that are handled, as far as is known
 */
async function findHandled(
  { finishedWork, redelivery, logger }: StartDependencies,
  batch: readonly WaitingEvent[],
): Promise<ReadonlyMap<string, Coordinates>> {
  const doubtful = batch.filter(({ isKnown, mayBeRedelivered }) => isKnown || mayBeRedelivered);
  if (doubtful.length === 0) return new Map();
  try {
    const handled = await finishedWork.findHandled(doubtful.map(({ plan }) => plan.event.id));
    const isHandled = ({ plan }: WaitingEvent): boolean => handled.has(plan.event.id);
    const redelivered = new Set(doubtful.filter(isHandled).map(({ delivery }) => delivery));
    redelivery.areNew(
      doubtful.filter(({ delivery }) => !redelivered.has(delivery)).map(({ message }) => message),
    );
    return handled;
  } catch (error) {
    logger.warn(
      { err: error },
      'cannot read which events are handled; handling all of them (duplicates are rejected later)',
    );
    return new Map();
  }
}

function isLoggedCopy(
  { event, input: [received] }: HandlingPlan,
  handled: ReadonlyMap<string, Coordinates>,
): boolean {
  const logged = handled.get(event.id);
  return logged !== undefined && placeOf(logged) === placeOf(received);
}

/** Without byte-identical copies, which are duplicates in any case. */
function unique(batch: readonly WaitingEvent[]): WaitingEvent[] {
  const byBytes = new Map<string, WaitingEvent>();
  for (const each of batch) {
    const [{ value }] = each.plan.input;
    if (!byBytes.has(value)) byBytes.set(value, each);
  }
  return [...byBytes.values()];
}

/** The message with a smaller plan. @throws the rejection when there is nothing smaller */
function toBeParked(logger: Logger, message: Waiting, rejection: StartRejectedError): Waiting {
  const plan = planInstead(message, rejection);
  const { workflowId } = message.plan;
  logger.error(
    { err: rejection, workflowId },
    'Temporal rejected the workflow start; parking the message',
  );
  return { ...message, plan };
}

function planInstead({ plan, message }: Waiting, rejection: StartRejectedError): ParkingPlan {
  if (plan.type === 'handleEvent') {
    return planParking(message, { reason: rejection.code, detail: rejection.message });
  }
  if ('lastOffset' in plan.input[0]) throw rejection;
  return planParkingByCoordinates(plan);
}
