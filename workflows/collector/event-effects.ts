/** Applies the effects of one or many events: shared by the workflows for an event and for a batch. */
import { ActivityFailure, ApplicationFailure, workflowInfo } from '@temporalio/workflow';
import type {
  createAuditLogActivities,
  EventIdConflict,
  LoggedEvents,
} from '../../activities/collector/audit-log';
import type { createCacheActivities } from '../../activities/collector/cache-eviction';
import type { DueNotification } from '../../activities/collector/notifications/outbox';
import type { createMetricsActivities, Updated } from '../../activities/collector/product-metrics';
import { staleAtMostMs } from '../../events/cached-details';
import { placeOf, type ReceivedEvent } from '../../events/received';
import { waitingTaskQueues } from '../../events/workflow-names';
import {
  isFinal,
  isTimedOut,
  localAttempts,
  localFirst,
  untilItSucceeds,
  type AfterAttempt,
} from '../activity-policies';
import { eventsOf, type Events } from './events';
import { attemptToPark, park, whyFailed, type Reason } from './park-event';
import { startNotification } from './start-notification';

type Effects = ReturnType<typeof createAuditLogActivities> &
  ReturnType<typeof createMetricsActivities> &
  ReturnType<typeof createCacheActivities>;

const effects = localFirst<Effects>();
const metrics = localAttempts<Effects>();

/**
 * An eviction waits for Redis in slots of its own, and no longer than anything stale can be in the cache:
 * what is evicted after that was read after the change.
 */
const evictions = localAttempts<Effects>({
  ...untilItSucceeds,
  taskQueue: waitingTaskQueues.evictions,
  scheduleToCloseTimeout: staleAtMostMs,
});

/** What handling came to. */
export interface Outcome {
  /** How many of the deliveries took effect. */
  readonly handled: number;
  /** How many changed nothing, since their events were handled before. */
  readonly repeats: number;
  /** The products whose cached detail was evicted; not those of an eviction that was given up. */
  readonly evicted: readonly string[];
  /** Names of the notifications that are to be delivered, one for each event that is due it. */
  readonly notified: readonly string[];
}

/**
 * Logs the events, applies them to the metrics and evicts stale cache entries. An event that can never
 * be applied is found by bisection and parked; so is one whose ID another event has. The others take
 * effect.
 *
 * @returns what it came to, as far as the versions of the workers that did it tell
 * @throws ApplicationFailure of type `EVENT_PARKED`, at the end, if any event was parked: the workflow
 *   fails, so that it is visible in the Web UI, with counts in the failure's details
 */
export async function handleEvents(events: Events): Promise<Outcome> {
  const { parked: letters, ...outcome } = await applyOrPark(events);
  const parked = new Set(letters);
  if (parked.size === 0) return outcome;
  throw ApplicationFailure.nonRetryable(
    `Parked as dead letter ${[...parked].join(', ')}: the effects can never be applied.`,
    'EVENT_PARKED',
    { ...countsOf(outcome), parked: parked.size },
  );
}

/** The outcome in figures: of a batch it is shown like this. */
export function countsOf({ handled, repeats, evicted, notified }: Outcome) {
  return { handled, repeats, evicted: new Set(evicted).size, notified: notified.length };
}

/** An outcome, with what was parked. */
interface FullOutcome extends Outcome {
  /** The IDs of the resulting dead letters, possibly with duplicates. */
  readonly parked: readonly number[];
}

const nothing: FullOutcome = { handled: 0, repeats: 0, evicted: [], notified: [], parked: [] };

function together(outcomes: readonly FullOutcome[]): FullOutcome {
  return outcomes.reduce(
    (one, other) => ({
      handled: one.handled + other.handled,
      repeats: one.repeats + other.repeats,
      evicted: [...one.evicted, ...other.evicted],
      notified: [...one.notified, ...other.notified],
      parked: [...one.parked, ...other.parked],
    }),
    nothing,
  );
}

async function applyOrPark(events: Events): Promise<FullOutcome> {
  try {
    return await applyEffects(events);
  } catch (error) {
    if (!(error instanceof ActivityFailure) || !isFinal(error)) throw error;
    const each = events.read();
    const [only] = each;
    if (each.length === 1 && only !== undefined) {
      return { ...nothing, parked: [await park(only, whyFailed(error))] };
    }
    const middle = Math.ceil(each.length / 2);
    return together([
      await applyOrPark(eventsOf(each.slice(0, middle))),
      await applyOrPark(eventsOf(each.slice(middle))),
    ]);
  }
}

/**
 * The log comes first: whatever is counted is in it, at every instant. An unavailable cache or
 * dead-letter topic does not block the other steps. Parked is what has the ID of another event.
 */
async function applyEffects(events: Events): Promise<FullOutcome> {
  const logged = await log(events);
  const conflicts = conflictsOf(logged.conflicts, events);
  const parkedFirst = conflicts.slice(0, parkedAtOnce);
  // What follows an attempt begins when all have ended: see localAttempts.
  const [applied, parked] = await Promise.all([
    logged.eventIds.length === 0 ? [] : attemptToApply(logged, events),
    Promise.all(parkedFirst.map(([event, why]) => attemptToPark(event, why))),
  ]);
  const following = [
    ...applied,
    ...parked.map((after) => async () => ({ ...nothing, parked: [await after()] })),
  ];
  const results = await Promise.allSettled(following.map((after) => after()));
  const outcome = together(settledValues(results));
  const others = await parkConflicts(conflicts.slice(parkedAtOnce));
  return { ...outcome, parked: [...outcome.parked, ...others] };
}

/** @throws the first failure, when all have settled */
function settledValues<T>(results: readonly PromiseSettledResult<T>[]): T[] {
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/** What logging came to, by a worker of any version. */
interface Logged extends Omit<LoggedEvents, 'staleProducts'> {
  readonly stale: Parameters<Effects['evictCache']>[0];
}

async function log(events: Events): Promise<Logged> {
  const { staleProducts, ...logged } = readAnswer(
    await effects.writeAuditLog(events.input),
    events,
  );
  return {
    ...logged,
    stale: staleProducts ?? without(logged.conflicts, events).map(({ value }) => ({ value })),
  };
}

// Workers of an earlier version return the conflicts or nothing, and so do their histories.
function readAnswer(answer: unknown, events: Events): LoggedEvents {
  if (isLoggedEvents(answer)) return answer;
  const conflicts = (answer ?? []) as readonly EventIdConflict[];
  const eventIds = without(conflicts, events).map(({ eventId }) => eventId);
  return { conflicts, eventIds, staleProducts: null };
}

function without(conflicts: readonly EventIdConflict[], events: Events): readonly ReceivedEvent[] {
  const inConflict = new Set(conflicts.map(placeOf));
  return events.read().filter((event) => !inConflict.has(placeOf(event)));
}

function isLoggedEvents(answer: unknown): answer is LoggedEvents {
  return typeof answer === 'object' && answer !== null && 'staleProducts' in answer;
}

async function attemptToApply(
  { eventIds, elsewhere, stale }: Logged,
  events: Events,
): Promise<AfterAttempt<FullOutcome>[]> {
  const { workflowId, runStartTime } = workflowInfo();
  const update = { eventIds, workflowId, runStartedAt: runStartTime.getTime() };
  const [updated, evicted] = await Promise.all([
    metrics.updateMetrics(elsewhere === undefined ? update : { ...update, elsewhere }),
    evictions.evictCache(stale),
  ]);
  return [
    async () => ({ ...nothing, evicted: await unlessGivenUp(evicted, stale) }),
    async () => {
      const { due, repeats } = readUpdated(await updated());
      await notify(due, events);
      const notified = due.map(({ name }) => name);
      return { ...nothing, handled: eventIds.length - repeats, repeats, notified };
    },
  ];
}

/** @returns the products that were evicted, where this version knows them */
async function unlessGivenUp(
  evicted: AfterAttempt<void>,
  stale: Logged['stale'],
): Promise<string[]> {
  try {
    await evicted();
    return stale.filter((each) => typeof each === 'string');
  } catch (error) {
    if (!isTimedOut(error)) throw error;
    await effects.giveUpEviction(stale);
    return [];
  }
}

// Workers of an earlier version return the notifications or nothing, and so do their histories.
function readUpdated(answer: Updated | readonly DueNotification[] | null | undefined): Updated {
  if (answer && 'due' in answer) return answer;
  return { due: answer ?? [], repeats: 0 };
}

async function notify(due: readonly DueNotification[], events: Events): Promise<void> {
  if (due.length === 0) return;
  // A redriven copy comes last, with the header that says so.
  const eventOf = new Map(events.read().map((event) => [event.eventId, event]));
  await Promise.all(due.map(({ name, eventId }) => startNotification(name, eventOf.get(eventId)!)));
}

/** Most events that are parked at once: Temporal takes 2,000 pending activities of a workflow. */
const parkedAtOnce = 500;

type Conflict = readonly [event: ReceivedEvent, why: Reason];

function conflictsOf(conflicts: readonly EventIdConflict[], events: Events): Conflict[] {
  if (conflicts.length === 0) return [];
  const conflictAt = new Map(conflicts.map((conflict) => [placeOf(conflict), conflict]));
  return events.read().flatMap((event): Conflict[] => {
    const conflict = conflictAt.get(placeOf(event));
    return conflict === undefined ? [] : [[event, whyInConflict(conflict)]];
  });
}

/** Parks so many at once, and then the next. @returns the dead letters' IDs */
async function parkConflicts(conflicts: readonly Conflict[]): Promise<number[]> {
  const deadLetterIds: number[] = [];
  for (let from = 0; from < conflicts.length; from += parkedAtOnce) {
    const some = conflicts.slice(from, from + parkedAtOnce);
    const attempts = await Promise.all(some.map(([event, why]) => attemptToPark(event, why)));
    const results = await Promise.allSettled(attempts.map((after) => after()));
    deadLetterIds.push(...settledValues(results));
  }
  return deadLetterIds;
}

function whyInConflict({ eventId, source, logged }: EventIdConflict): Reason {
  return {
    reason: 'EVENT_ID_CONFLICT',
    detail:
      `The event ${eventId} of ${source} is another one than the event ${eventId} of ${logged.source}, ` +
      `which is logged and stands at ${placeOf(logged)}. One ID stands for one event, whoever sends it.`,
  };
}
