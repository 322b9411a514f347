/**
 * Starts workflows for the messages of a slice, in one of two modes: one workflow an event, or, where
 * there are not enough slots for that, one for all that has arrived.
 *
 * A known event ID does not make a message a duplicate: another producer may use the same ID. So a
 * message is skipped only when it is the very one that is logged and handled, by topic, partition and
 * offset. Any other goes into a batch, whose workflow compares it with the log.
 */
import { placeOf, type Coordinates, type VanishedOffsets } from '../events/received';
import type { Logger } from '../platform/observability/logger';
import type { FinishedWork } from './finished-work';
import type { InFlight } from './in-flight';
import {
  planBatch,
  planParking,
  planParkingByCoordinates,
  planVanished,
  planWorkflow,
  type BatchPlan,
  type HandlingPlan,
  type ParkingPlan,
  type PartitionMessage,
} from './workflow-plan';
import { StartRejectedError, type WorkflowStarter } from './workflow-starter';

export interface DispatcherDependencies {
  readonly starter: WorkflowStarter;
  readonly inFlight: InFlight;
  readonly finishedWork: FinishedWork;
  readonly logger: Logger;
}

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

/** One workflow an event, always. */
export function createPerEventDispatcher(dependencies: DispatcherDependencies): Dispatcher {
  return {
    ...createRecorder(dependencies),
    sliceSize: 100,
    async dispatch(slice, signal) {
      const known = await allSettled(
        slice.map((received) =>
          startOne(dependencies, { plan: planWorkflow(received), received }, signal),
        ),
      );
      await startBatches(dependencies, known.flat(), signal);
    },
  };
}

function createRecorder({ starter }: DispatcherDependencies): Pick<Dispatcher, 'recordVanished'> {
  return {
    async recordVanished(offsets, signal) {
      await starter.start(planVanished(offsets), signal);
    },
  };
}

/** Most events in a batch. */
const maxBatchEvents = 500;

/** Most bytes of events in a batch: Temporal's limit for an input, with room for escapes. */
const maxBatchBytes = 1024 * 1024;

/**
 * One workflow an event while there is a slot for each event of a slice; otherwise the slice goes as
 * one batch into the next slot. A light load gets a workflow an event, a backlog gets large batches,
 * without tuning.
 */
export function createCoalescingDispatcher(dependencies: DispatcherDependencies): Dispatcher {
  return {
    ...createRecorder(dependencies),
    sliceSize: maxBatchEvents,
    async dispatch(slice, signal) {
      const starts: Promise<Known>[] = [];
      const begin = (start: Promise<Known>): void => {
        // Awaited below, when all have been started; until then a rejection must not end the process.
        start.catch(() => undefined);
        starts.push(start);
      };
      try {
        await startAll(dependencies, slice, signal, begin);
      } finally {
        await Promise.allSettled(starts);
      }
      const known = await allSettled(starts);
      await startBatches(dependencies, known.flat(), signal);
    },
  };
}

interface Planned {
  readonly plan: HandlingPlan | ParkingPlan;
  readonly received: PartitionMessage;
}

interface EventPlanned extends Planned {
  readonly plan: HandlingPlan;
}

/** Events whose ID Temporal already knows; still to be handled. */
type Known = readonly EventPlanned[];

async function startAll(
  dependencies: DispatcherDependencies,
  slice: readonly PartitionMessage[],
  signal: AbortSignal,
  begin: (start: Promise<Known>) => void,
): Promise<void> {
  const waiting: Planned[] = slice.map((received) => ({ plan: planWorkflow(received), received }));
  if (await takeAllIfFree(dependencies.inFlight, waiting)) {
    for (const planned of waiting) begin(startTaken(dependencies, planned, signal));
    return;
  }
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    if (next.plan.type === 'parkDeadLetter') {
      await dependencies.inFlight.take(next.plan.doneBy, signal);
      begin(startTaken(dependencies, next, signal));
    } else {
      const batch = takeBatch([next, ...waiting.splice(0)], waiting);
      const prepared = await prepareBatch(dependencies, batch, signal);
      if (prepared !== undefined) begin(startBatch(dependencies, prepared, signal).then(() => []));
    }
  }
}

async function takeAllIfFree(inFlight: InFlight, planned: readonly Planned[]): Promise<boolean> {
  const doneBy = planned.map(({ plan }) => plan.doneBy);
  if (new Set(doneBy).size > inFlight.limit) return false;
  if (inFlight.tryTakeAll(doneBy)) return true;
  // Slots become free when their work is done, but that is only seen by polling.
  await inFlight.refresh();
  return inFlight.tryTakeAll(doneBy);
}

/** Starts as few batches as hold these events; finished ones are skipped. */
async function startBatches(
  dependencies: DispatcherDependencies,
  events: readonly EventPlanned[],
  signal: AbortSignal,
): Promise<void> {
  for (let waiting: Planned[] = [...events]; waiting.length > 0;) {
    const batch = takeBatch(waiting.splice(0), waiting);
    const prepared = await prepareBatch(dependencies, batch, signal);
    if (prepared === undefined) continue;
    await startBatch(dependencies, prepared, signal);
  }
}

/** Takes as many events from the front as a batch holds; the others go to `rest`. */
function takeBatch(planned: readonly Planned[], rest: Planned[]): EventPlanned[] {
  const batch: EventPlanned[] = [];
  let bytes = 0;
  for (const each of planned) {
    const { plan, received } = each;
    const size = plan.type === 'handleEvent' ? plan.bytes : 0;
    const fits = batch.length === 0 || bytes + size <= maxBatchBytes;
    if (plan.type === 'handleEvent' && fits) {
      batch.push({ plan, received });
      bytes += size;
    } else {
      rest.push(each);
    }
  }
  return batch;
}

interface PreparedBatch {
  readonly plan: BatchPlan;
  readonly batch: readonly EventPlanned[];
}

/** Plans a batch and waits for a slot. @returns undefined when all of it is done */
async function prepareBatch(
  dependencies: DispatcherDependencies,
  batch: readonly EventPlanned[],
  signal: AbortSignal,
): Promise<PreparedBatch | undefined> {
  const handled = await findHandled(dependencies, batch);
  const left = unique(batch.filter(({ plan }) => !isLoggedCopy(plan, handled)));
  if (left.length === 0) return undefined;
  // Handled events may still have to be compared. But the slot becomes free when the rest is handled,
  // too.
  const last = left.findLast(({ plan }) => !handled.has(plan.event.id)) ?? left.at(-1)!;
  const plan = planBatch(
    left.map(({ plan: { input } }) => input[0]),
    last.plan.doneBy,
  );
  await dependencies.inFlight.take(plan.doneBy, signal);
  return { plan, batch: left };
}

async function startBatch(
  dependencies: DispatcherDependencies,
  { plan, batch }: PreparedBatch,
  signal: AbortSignal,
): Promise<void> {
  const { starter, inFlight, logger } = dependencies;
  try {
    await starter.start(plan, signal);
  } catch (error) {
    inFlight.release(plan.doneBy);
    if (!(error instanceof StartRejectedError)) throw error;
    const [only] = batch;
    if (batch.length === 1) {
      await parkRejected(dependencies, only!, error, signal);
      return;
    }
    logger.warn(
      { err: error, events: batch.length },
      'Temporal rejected a batch as too large; starting one workflow per event',
    );
    const known = await allSettled(batch.map((single) => startOne(dependencies, single, signal)));
    // Not as the same batch again, which would be rejected again.
    for (const single of known.flat()) await startBatches(dependencies, [single], signal);
  }
}

/**
 * After a replay most of a batch may be handled already.
 *
 * @returns the logged copy's coordinates of those events that are handled, as far as is known
 */
async function findHandled(
  { finishedWork, logger }: DispatcherDependencies,
  batch: readonly EventPlanned[],
): Promise<ReadonlyMap<string, Coordinates>> {
  try {
    return await finishedWork.findHandled(batch.map(({ plan }) => plan.event.id));
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
function unique(batch: readonly EventPlanned[]): EventPlanned[] {
  const byBytes = new Map<string, EventPlanned>();
  for (const each of batch) {
    const [{ value }] = each.plan.input;
    if (!byBytes.has(value)) byBytes.set(value, each);
  }
  return [...byBytes.values()];
}

async function startOne(
  dependencies: DispatcherDependencies,
  planned: Planned,
  signal: AbortSignal,
): Promise<Known> {
  await dependencies.inFlight.take(planned.plan.doneBy, signal);
  return startTaken(dependencies, planned, signal);
}

/**
 * Starts a workflow whose slot is already taken; a message whose start is rejected is parked.
 *
 * @returns the event, if Temporal already knows its ID
 */
async function startTaken(
  dependencies: DispatcherDependencies,
  planned: Planned,
  signal: AbortSignal,
): Promise<Known> {
  const { starter, inFlight } = dependencies;
  const { plan, received } = planned;
  try {
    if (await starter.start(plan, signal)) return [];
    inFlight.release(plan.doneBy);
    return plan.type === 'handleEvent' ? [{ plan, received }] : [];
  } catch (error) {
    inFlight.release(plan.doneBy);
    if (!(error instanceof StartRejectedError)) throw error;
    return parkRejected(dependencies, planned, error, signal);
  }
}

async function parkRejected(
  dependencies: DispatcherDependencies,
  { plan, received }: Planned,
  rejection: StartRejectedError,
  signal: AbortSignal,
): Promise<Known> {
  const parking = planInstead(plan, received, rejection);
  const { workflowId } = plan;
  dependencies.logger.error(
    { err: rejection, workflowId },
    'Temporal rejected the workflow start; parking the message',
  );
  return startOne(dependencies, { plan: parking, received }, signal);
}

/** A smaller plan after a rejection. @throws when there is nothing smaller */
function planInstead(
  plan: HandlingPlan | ParkingPlan,
  received: PartitionMessage,
  rejection: StartRejectedError,
): ParkingPlan {
  if (plan.type === 'handleEvent') {
    return planParking(received, { reason: rejection.code, detail: rejection.message });
  }
  if ('lastOffset' in plan.input[0]) throw rejection;
  return planParkingByCoordinates(plan);
}

/** Waits for all, even when one fails; then throws the first failure. */
async function allSettled<T>(work: readonly Promise<T>[]): Promise<T[]> {
  return (await Promise.allSettled(work)).map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
