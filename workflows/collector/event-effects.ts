/** Applies the effects of one or many events: shared by the workflows for an event and for a batch. */
import { ActivityFailure, ApplicationFailure, workflowInfo } from '@temporalio/workflow';
import type {
  createAuditLogActivities,
  EventIdConflict,
  LoggedEvents,
} from '../../activities/collector/audit-log';
import type { createCacheActivities } from '../../activities/collector/cache-eviction';
import type { DueNotification } from '../../activities/collector/notifications/outbox';
import type { createMetricsActivities } from '../../activities/collector/product-metrics';
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

/**
 * Logs the events, applies them to the metrics and evicts stale cache entries. An event that can never
 * be applied is found by bisection and parked; so is one whose ID another event has. The others take
 * effect.
 *
 * @throws ApplicationFailure of type `EVENT_PARKED`, at the end, if any event was parked: the workflow
 *   fails, so that it is visible in the Web UI
 */
export async function handleEvents(events: Events): Promise<void> {
  const parked = new Set(await applyOrPark(events));
  if (parked.size === 0) return;
  throw ApplicationFailure.nonRetryable(
    `Parked as dead letter ${[...parked].join(', ')}: the effects can never be applied.`,
    'EVENT_PARKED',
  );
}

/** @returns the IDs of the resulting dead letters, possibly with duplicates */
async function applyOrPark(events: Events): Promise<number[]> {
  try {
    return await applyEffects(events);
  } catch (error) {
    if (!(error instanceof ActivityFailure) || !isFinal(error)) throw error;
    const each = events.read();
    const [only] = each;
    if (each.length === 1 && only !== undefined) return [await park(only, whyFailed(error))];
    const middle = Math.ceil(each.length / 2);
    return [
      ...(await applyOrPark(eventsOf(each.slice(0, middle)))),
      ...(await applyOrPark(eventsOf(each.slice(middle)))),
    ];
  }
}

/**
 * The log comes first: whatever is counted is in it, at every instant. An unavailable cache or
 * dead-letter topic does not block the other steps.
 *
 * @returns the IDs of the dead letters of events whose ID another event has
 */
async function applyEffects(events: Events): Promise<number[]> {
  const logged = await log(events);
  const conflicts = conflictsOf(logged.conflicts, events);
  const parkedFirst = conflicts.slice(0, parkedAtOnce);
  // What follows an attempt begins when all have ended: see localAttempts.
  const [applied, parked] = await Promise.all([
    logged.eventIds.length === 0 ? [] : attemptToApply(logged, events),
    Promise.all(parkedFirst.map(([event, why]) => attemptToPark(event, why))),
  ]);
  const results = await Promise.allSettled([...applied, ...parked].map((after) => after()));
  const deadLetterIds = settledValues<number | undefined>(results).flatMap((id) => id ?? []);
  return [...deadLetterIds, ...(await parkConflicts(conflicts.slice(parkedAtOnce)))];
}

/** @throws the first failure, when all have settled */
function settledValues<T>(results: readonly PromiseSettledResult<T>[]): T[] {
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/** What logging came to, by a worker of any version. */
interface Logged extends Pick<LoggedEvents, 'conflicts' | 'eventIds'> {
  readonly stale: Parameters<Effects['evictCache']>[0];
}

async function log(events: Events): Promise<Logged> {
  const { conflicts, eventIds, staleProducts } = readAnswer(
    await effects.writeAuditLog(events.input),
    events,
  );
  return {
    conflicts,
    eventIds,
    stale: staleProducts ?? without(conflicts, events).map(({ value }) => ({ value })),
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
  { eventIds, stale }: Logged,
  events: Events,
): Promise<AfterAttempt<undefined>[]> {
  const { workflowId } = workflowInfo();
  const [updated, evicted] = await Promise.all([
    metrics.updateMetrics({ eventIds, workflowId }),
    evictions.evictCache(stale),
  ]);
  return [
    async () => {
      await unlessGivenUp(evicted, stale);
      return undefined;
    },
    async () => {
      await notify(await updated(), events);
      return undefined;
    },
  ];
}

async function unlessGivenUp(evicted: AfterAttempt<void>, stale: Logged['stale']): Promise<void> {
  try {
    await evicted();
  } catch (error) {
    if (!isTimedOut(error)) throw error;
    await effects.giveUpEviction(stale);
  }
}

/** @param due what to tell; workers of an earlier version return nothing, and so do their histories */
async function notify(
  due: readonly DueNotification[] | null | undefined,
  events: Events,
): Promise<void> {
  if (!due?.length) return;
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
