/**
 * Hands the messages of a slice to workflows, at one of two speeds: always a workflow for each
 * event, or, where the slots do not suffice for that, one for all that has arrived.
 *
 * That an event of its ID is known does not make a message a repeat: somebody else may use the same ID.
 * So a message is left out only when it is the very one that is logged and handled, by topic, partition
 * and offset. Any other goes to a batch, whose workflow compares it with what is logged.
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
      const starts: Promise<Known>[] = [];
      const begin = (start: Promise<Known>): void => {
        // Looked at below, when all have been begun; until then a failure must not end the process.
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

/** Events of which Temporal said that it knows their ID; they are not taken care of. */
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
  // Slots are free as soon as their work is done, but only known to be when looked for.
  await inFlight.refresh();
  return inFlight.tryTakeAll(doneBy);
}

/** Starts batches of these events, in as few as hold them; what is done already is left out. */
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
  const handled = await findHandled(dependencies, batch);
  const left = unique(batch.filter(({ plan }) => !isLoggedCopy(plan, handled)));
  if (left.length === 0) return undefined;
  // What is handled may still have to be compared. But the slot is free when the rest is handled, too.
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
    if (!(error instanceof StartRefusedError)) throw error;
    const [only] = batch;
    if (batch.length === 1) {
      await parkRefused(dependencies, only!, error, signal);
      return;
    }
    logger.warn({ err: error, events: batch.length }, 'a batch was refused; starting one by one');
    const known = await allSettled(batch.map((single) => startOne(dependencies, single, signal)));
    // Not as the same batch again, which would be refused again.
    for (const single of known.flat()) await startBatches(dependencies, [single], signal);
  }
}

/**
 * After a replay most of a batch may be done already.
 *
 * @returns where the logged copy stood of those events that are handled, as far as can be seen
 */
async function findHandled(
  { finishedWork, logger }: DispatcherDependencies,
  batch: readonly EventPlanned[],
): Promise<ReadonlyMap<string, Coordinates>> {
  try {
    return await finishedWork.findHandled(batch.map(({ plan }) => plan.event.id));
  } catch (error) {
    logger.warn({ err: error }, 'cannot see which events are handled; handling all of them');
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

/** Without further copies of the same bytes: they are repeats, whatever is logged. */
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
 * Starts a workflow in a slot that is taken for it; a start that is refused for good is parked.
 *
 * @returns the event, if Temporal knows one of its ID
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
    if (!(error instanceof StartRefusedError)) throw error;
    return parkRefused(dependencies, planned, error, signal);
  }
}

async function parkRefused(
  dependencies: DispatcherDependencies,
  { plan, received }: Planned,
  refused: StartRefusedError,
  signal: AbortSignal,
): Promise<Known> {
  const parking = planInstead(plan, received, refused);
  const { workflowId } = plan;
  dependencies.logger.error(
    { err: refused, workflowId },
    'Temporal refused to start the workflow; parking the message instead',
  );
  return startOne(dependencies, { plan: parking, received }, signal);
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
async function allSettled<T>(work: readonly Promise<T>[]): Promise<T[]> {
  return (await Promise.allSettled(work)).map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
