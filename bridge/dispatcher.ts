/**
 * Hands the messages of a slice to workflows, at one of two speeds: always a workflow for each
 * event, or, where the slots do not suffice for that, one for all that has arrived.
 */
import type { VanishedOffsets } from '../events/received';
import type { Logger } from '../platform/logger';
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
import { StartRefusedError, type WorkflowStarter } from './workflow-starter';

/** What a dispatcher needs. */
export interface DispatcherDependencies {
  readonly starter: WorkflowStarter;
  readonly inFlight: InFlight;
  readonly finishedWork: FinishedWork;
  readonly logger: Logger;
}

/** Hands messages over. */
export interface Dispatcher {
  /** Most messages that are handed over together. */
  readonly sliceSize: number;
  /**
   * Returns once Temporal has acknowledged the workflow of every message. No start is under way any
   * more when it returns or throws.
   *
   * @param slice messages of one partition, in order
   * @throws when aborted
   */
  dispatch(slice: readonly PartitionMessage[], signal: AbortSignal): Promise<void>;
  /** Returns once Temporal has acknowledged that these offsets will be put on record. @throws when aborted */
  recordVanished(offsets: VanishedOffsets, signal: AbortSignal): Promise<void>;
}

/** One workflow an event, always. */
export function createPerEventDispatcher(dependencies: DispatcherDependencies): Dispatcher {
  return {
    ...createRecorder(dependencies),
    sliceSize: 100,
    dispatch: (slice, signal) =>
      allSettled(
        slice.map(async (received) => {
          const plan = planWorkflow(received);
          await dependencies.inFlight.take(plan.doneBy, signal);
          await startTaken(dependencies, plan, received, signal);
        }),
      ),
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

/** Most bytes of events in a batch: what Temporal takes as one input, with room for escapes. */
const maxBatchBytes = 1024 * 1024;

/**
 * One workflow an event where there is a slot for each of a slice. Where there is not, the slice goes
 * as one batch into the next slot: a light load gets a workflow an event, a backlog large batches,
 * and nothing has to be tuned.
 */
export function createCoalescingDispatcher(dependencies: DispatcherDependencies): Dispatcher {
  return {
    ...createRecorder(dependencies),
    sliceSize: maxBatchEvents,
    async dispatch(slice, signal) {
      const starts: Promise<void>[] = [];
      const begin = (start: Promise<void>): void => {
        // Looked at below, when all have been begun; until then a failure must not end the process.
        start.catch(() => undefined);
        starts.push(start);
      };
      try {
        await startAll(dependencies, slice, signal, begin);
      } finally {
        await Promise.allSettled(starts);
      }
      await allSettled(starts);
    },
  };
}

interface Planned {
  readonly plan: HandlingPlan | ParkingPlan;
  readonly received: PartitionMessage;
}

async function startAll(
  dependencies: DispatcherDependencies,
  slice: readonly PartitionMessage[],
  signal: AbortSignal,
  begin: (start: Promise<void>) => void,
): Promise<void> {
  const waiting: Planned[] = slice.map((received) => ({ plan: planWorkflow(received), received }));
  if (await takeAllIfFree(dependencies.inFlight, waiting)) {
    for (const { plan, received } of waiting) {
      begin(startTaken(dependencies, plan, received, signal));
    }
    return;
  }
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { plan, received } = next;
    if (plan.type === 'parkDeadLetter') {
      await dependencies.inFlight.take(plan.doneBy, signal);
      begin(startTaken(dependencies, plan, received, signal));
    } else {
      const batch = takeBatch([next, ...waiting.splice(0)], waiting);
      const prepared = await prepareBatch(dependencies, batch, signal);
      if (prepared !== undefined) begin(startBatch(dependencies, prepared, signal));
    }
  }
}

async function takeAllIfFree(inFlight: InFlight, planned: readonly Planned[]): Promise<boolean> {
  const doneBy = [...new Set(planned.map(({ plan }) => plan.doneBy))];
  if (doneBy.length > inFlight.limit) return false;
  if (inFlight.tryTakeAll(doneBy)) return true;
  // Slots are free as soon as their work is done, but only known to be when looked for.
  await inFlight.refresh();
  return inFlight.tryTakeAll(doneBy);
}

/** Takes events from the front, as many as a batch holds; what is left goes to `rest`. */
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

interface EventPlanned extends Planned {
  readonly plan: HandlingPlan;
}

interface PreparedBatch {
  readonly plan: BatchPlan;
  readonly batch: readonly EventPlanned[];
}

/** Plans a batch and waits for a slot. @returns undefined when nothing of it is left to be done */
async function prepareBatch(
  dependencies: DispatcherDependencies,
  batch: readonly EventPlanned[],
  signal: AbortSignal,
): Promise<PreparedBatch | undefined> {
  const fresh = unique(await withoutHandled(dependencies, batch));
  if (fresh.length === 0) return undefined;
  const plan = planBatch(fresh.map(({ plan: { input } }) => input[0]));
  await dependencies.inFlight.take(plan.doneBy, signal);
  return { plan, batch: fresh };
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
    if (!(error instanceof StartRefusedError)) throw error;
    logger.warn({ err: error, events: batch.length }, 'a batch was refused; starting one by one');
    await allSettled(
      batch.map(async ({ plan: single, received }) => {
        await inFlight.take(single.doneBy, signal);
        await startTaken(dependencies, single, received, signal);
      }),
    );
  }
}

/**
 * After a replay most of a batch may be done already. Left out, it costs nothing, and the event by
 * which the batch is known to be done is one that is still to be handled.
 */
async function withoutHandled(
  { finishedWork, logger }: DispatcherDependencies,
  batch: readonly EventPlanned[],
): Promise<readonly EventPlanned[]> {
  try {
    const eventIds = batch.map(({ plan }) => plan.event.id);
    const handled = new Set(await finishedWork.findHandled(eventIds));
    return batch.filter(({ plan }) => !handled.has(plan.event.id));
  } catch (error) {
    logger.warn({ err: error }, 'cannot see which events are handled; handling all of them');
    return batch;
  }
}

function unique(batch: readonly EventPlanned[]): EventPlanned[] {
  const byEvent = new Map<string, EventPlanned>();
  for (const each of batch) {
    if (!byEvent.has(each.plan.event.id)) byEvent.set(each.plan.event.id, each);
  }
  return [...byEvent.values()];
}

/** Starts a workflow in a slot that is taken for it; a start that is refused for good is parked. */
async function startTaken(
  dependencies: DispatcherDependencies,
  plan: HandlingPlan | ParkingPlan,
  received: PartitionMessage,
  signal: AbortSignal,
): Promise<void> {
  const { starter, inFlight, logger } = dependencies;
  try {
    const started = await starter.start(plan, signal);
    if (!started) inFlight.release(plan.doneBy);
  } catch (error) {
    inFlight.release(plan.doneBy);
    if (!(error instanceof StartRefusedError)) throw error;
    const parking = planInstead(plan, received, error);
    logger.error(
      { err: error, workflowId: plan.workflowId },
      'Temporal refused to start the workflow; parking the message instead',
    );
    await inFlight.take(parking.doneBy, signal);
    await startTaken(dependencies, parking, received, signal);
  }
}

/** What Temporal will take instead of what it has refused. @throws when there is nothing smaller */
function planInstead(
  plan: HandlingPlan | ParkingPlan,
  received: PartitionMessage,
  refused: StartRefusedError,
): ParkingPlan {
  if (plan.type === 'handleEvent') {
    return planParking(received, { reason: refused.code, detail: refused.message });
  }
  if ('lastOffset' in plan.input[0]) throw refused;
  return planParkingByCoordinates(plan);
}

/** Waits for all of them, also when one fails; then throws the first failure. */
async function allSettled(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
