/**
 * Starts workflows for the messages of all partitions, from one queue. In one of two modes: one workflow
 * an event, or, where there are not enough slots for that, one for all that has arrived.
 *
 * A known event ID does not make a message a duplicate: another producer may use the same ID. So a
 * message is skipped only when it is the very one that is logged and handled, by topic, partition and
 * offset. Any other goes into a batch, whose workflow compares it with the log.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { VanishedOffsets } from '../events/received';
import { createDelivery, type Delivery } from './delivery';
import type { InFlight } from './in-flight';
import { createPause } from './pause';
import { createRedeliveryWatch } from './redelivery';
import { slotOf, startMessages, type StartDependencies } from './start-messages';
import {
  createStartQueue,
  maxBatchEvents,
  messagesOf,
  type Start,
  type StartQueue,
  type Waiting,
} from './start-queue';
import { planVanished, planWorkflow, type PartitionMessage } from './workflow-plan';

/** How many events a workflow is started for. */
export type DispatchMode =
  /** One workflow an event, always. */
  | 'per-event'
  /**
   * One workflow an event while there is a slot for each of all that wait; otherwise all of it, from
   * every partition, goes as one batch into the next slot. A light load gets a workflow an event, a
   * backlog gets large batches, without tuning.
   */
  | 'coalesce';

export type DispatcherDependencies = Omit<StartDependencies, 'redelivery' | 'requeue'>;

/** Starts workflows for messages. */
export interface Dispatcher {
  /** Most messages in a slice. */
  readonly sliceSize: number;
  /**
   * Returns once Temporal has acknowledged the workflow of every message. No start is in progress any
   * more when it returns or throws.
   *
   * @param slice messages of one partition, in order
   * @throws when aborted
   */
  dispatch(slice: readonly PartitionMessage[], signal: AbortSignal): Promise<void>;
  /**
   * Returns once Temporal has acknowledged the workflow that records these offsets. @throws when
   * aborted
   */
  recordVanished(offsets: VanishedOffsets, signal: AbortSignal): Promise<void>;
}

export function createDispatcher(
  dependencies: DispatcherDependencies,
  mode: DispatchMode,
): Dispatcher {
  const { starter, inFlight } = dependencies;
  const queue = createStartQueue();
  const redelivery = createRedeliveryWatch();
  const takeStarts = mode === 'coalesce' ? createCoalescing() : takeEach;
  const startWaiting = createPump(queue, inFlight, takeStarts, {
    start: (start) => void startMessages({ ...dependencies, redelivery, requeue }, start),
  });
  const requeue = (messages: readonly Waiting[]): void => {
    queue.unshift(messages.filter(({ delivery }) => !delivery.signal.aborted));
    // These have not been in the queue when their delivery was aborted.
    for (const { delivery } of messages) {
      if (delivery.signal.aborted) delivery.fail(delivery.signal.reason);
    }
    startWaiting();
  };
  return {
    sliceSize: mode === 'coalesce' ? maxBatchEvents : perEventSliceSize(inFlight.limit),
    async dispatch(slice, signal) {
      const delivery = createDelivery(slice.length, signal, requeue);
      const mayBeRedelivered = redelivery.observe(slice);
      queue.push(toWaiting(slice, { delivery, mayBeRedelivered }));
      startWaiting();
      await withdrawnOnAbort(queue, delivery);
    },
    async recordVanished(offsets, signal) {
      await starter.start(planVanished(offsets), signal);
    },
  };
}

// Enough to fill the slots from one partition, and few: the slices of all partitions take turns, and each
// is committed only when its last event has had a slot. With 100 in each of twelve partitions, none was
// committed for a minute at 25 events/s.
function perEventSliceSize(slots: number): number {
  return Math.min(Math.max(slots, 10), 100);
}

function toWaiting(
  slice: readonly PartitionMessage[],
  more: Pick<Waiting, 'delivery' | 'mayBeRedelivered'>,
): Waiting[] {
  return slice.map((message) => {
    const plan = planWorkflow(message);
    return { ...more, message, plan, isKnown: false, mayShare: true };
  });
}

/** Waits for a delivery. When it is aborted, what has not been started leaves the queue. */
async function withdrawnOnAbort(queue: StartQueue, delivery: Delivery<Waiting>): Promise<void> {
  const { signal } = delivery;
  const withdraw = (): void => {
    for (const { delivery: own } of queue.remove(delivery)) own.fail(signal.reason);
  };
  signal.addEventListener('abort', withdraw);
  if (signal.aborted) withdraw();
  try {
    await delivery.settled;
  } finally {
    signal.removeEventListener('abort', withdraw);
  }
}

/**
 * Takes from the queue what is to be started now.
 *
 * @param haveLooked whether finished work has just been looked for
 */
type TakeStarts = (queue: StartQueue, inFlight: InFlight, haveLooked: boolean) => Start[];

/**
 * Starts what waits, as slots become free. @returns a function to be called when something has come
 */
function createPump(
  queue: StartQueue,
  inFlight: InFlight,
  takeStarts: TakeStarts,
  { start }: { start(start: Start): void },
): () => void {
  const pause = createPause('no-slot');
  let isRunning = false;
  const run = async (): Promise<void> => {
    // The slices of one fetch arrive one after another.
    await nextTurn();
    let haveLooked = false;
    while (!queue.isEmpty()) {
      const starts = takeStarts(queue, inFlight, haveLooked);
      starts.forEach(start);
      haveLooked = starts.length === 0;
      if (!haveLooked) continue;
      if (inFlight.count() < inFlight.limit) await inFlight.refresh();
      else await pause.during(() => inFlight.refresh());
    }
    isRunning = false;
  };
  return () => {
    if (isRunning) return;
    isRunning = true;
    void run();
  };
}

/** Takes each message by itself while there are slots. */
const takeEach: TakeStarts = (queue, inFlight) => {
  const starts: Start[] = [];
  for (let start = queue.takeOne(); start !== undefined; start = queue.takeOne()) {
    if (!inFlight.tryTakeAll([slotOf(start)])) {
      queue.unshift(messagesOf(start));
      break;
    }
    starts.push(start);
  }
  return starts;
};

/**
 * Takes each message by itself if there is a slot for each; otherwise a batch. Messages that are in no
 * batch, such as those to be parked, take turns with batches: neither waits for all of the others.
 */
function createCoalescing(): TakeStarts {
  let isTurnOfBatch = true;
  return (queue, inFlight, haveLooked) => {
    if (inFlight.count() >= inFlight.limit && !haveLooked) return [];
    if (queue.hasAtMost(inFlight.limit)) {
      const each = takeAll(queue, inFlight);
      // Slots become free when their work is done, but that is only seen by looking.
      if (each.length > 0 || !haveLooked) return each;
    }
    if (inFlight.count() >= inFlight.limit) return [];
    const start = isTurnOfBatch
      ? (queue.takeBatch() ?? queue.takeSingle())
      : (queue.takeSingle() ?? queue.takeBatch());
    if (start === undefined) return [];
    isTurnOfBatch = start.kind === 'single';
    inFlight.tryTakeAll([slotOf(start)]);
    return [start];
  };
}

/** Takes all, each by itself, or nothing. */
function takeAll(queue: StartQueue, inFlight: InFlight): Start[] {
  const starts: Start[] = [];
  for (let start = queue.takeOne(); start !== undefined; start = queue.takeOne())
    starts.push(start);
  if (inFlight.tryTakeAll(starts.map(slotOf))) return starts;
  queue.unshift(starts.flatMap(messagesOf));
  return [];
}
