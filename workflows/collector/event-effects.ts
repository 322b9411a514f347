/** Applies the effects of one or many events: shared by the workflows for an event and for a batch. */
import { ActivityFailure, ApplicationFailure, workflowInfo } from '@temporalio/workflow';
import type {
  createAuditLogActivities,
  EventIdConflict,
} from '../../activities/collector/audit-log';
import type { createCacheActivities } from '../../activities/collector/cache-eviction';
import type { DueNotification } from '../../activities/collector/notifications/outbox';
import type { createMetricsActivities } from '../../activities/collector/product-metrics';
import { placeOf, type ReceivedEvent } from '../../events/received';
import { isFinal, localFirst } from '../activity-policies';
import { park, whyFailed, type Reason } from './park-event';
import { startNotification } from './start-notification';

type Effects = ReturnType<typeof createAuditLogActivities> &
  ReturnType<typeof createMetricsActivities> &
  ReturnType<typeof createCacheActivities>;

const effects = localFirst<Effects>();

/**
 * Logs the events, applies them to the metrics and evicts stale cache entries. An event that can never
 * be applied is found by bisection and parked; so is one whose ID another event has. The others take
 * effect.
 *
 * @throws ApplicationFailure of type `EVENT_PARKED`, at the end, if any event was parked: the workflow
 *   fails, so that it is visible in the Web UI
 */
export async function handleEvents(events: readonly ReceivedEvent[]): Promise<void> {
  const parked = new Set(await applyOrPark(events));
  if (parked.size === 0) return;
  throw ApplicationFailure.nonRetryable(
    `Parked as dead letter ${[...parked].join(', ')}: the effects can never be applied.`,
    'EVENT_PARKED',
  );
}

/** @returns the IDs of the resulting dead letters, possibly with duplicates */
async function applyOrPark(events: readonly ReceivedEvent[]): Promise<number[]> {
  try {
    return await applyEffects(events);
  } catch (error) {
    if (!(error instanceof ActivityFailure) || !isFinal(error)) throw error;
    const [only] = events;
    if (events.length === 1 && only !== undefined) return [await park(only, whyFailed(error))];
    const middle = Math.ceil(events.length / 2);
    return [
      ...(await applyOrPark(events.slice(0, middle))),
      ...(await applyOrPark(events.slice(middle))),
    ];
  }
}

/**
 * The log comes first: whatever is counted is in it, at every instant. An unavailable cache or
 * dead-letter topic does not block the other steps.
 *
 * @returns the IDs of the dead letters of events whose ID another event has
 */
async function applyEffects(events: readonly ReceivedEvent[]): Promise<number[]> {
  // Workers of an earlier version return nothing, and so do their histories.
  const conflicts = ((await effects.writeAuditLog(events)) as EventIdConflict[] | null) ?? [];
  const conflictAt = new Map(conflicts.map((conflict) => [placeOf(conflict), conflict]));
  const logged = events.filter((event) => !conflictAt.has(placeOf(event)));
  const results = await Promise.allSettled([
    ...(logged.length === 0 ? [] : applyLogged(logged)),
    ...events.flatMap((event) => {
      const conflict = conflictAt.get(placeOf(event));
      return conflict === undefined ? [] : [park(event, whyInConflict(conflict))];
    }),
  ]);
  return results.flatMap((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value === undefined ? [] : [result.value];
  });
}

function applyLogged(events: readonly ReceivedEvent[]): Promise<undefined>[] {
  return [
    updateMetricsAndNotify(events),
    effects.evictCache(events.map(({ value }) => ({ value }))),
  ].map((effect) => effect.then(() => undefined));
}

async function updateMetricsAndNotify(events: readonly ReceivedEvent[]): Promise<void> {
  const eventIds = events.map(({ eventId }) => eventId);
  const { workflowId } = workflowInfo();
  // Workers of an earlier version return nothing, and so do their histories.
  const due =
    ((await effects.updateMetrics({ eventIds, workflowId })) as DueNotification[] | null) ?? [];
  // A redriven copy comes last, with the header that says so.
  const eventOf = new Map(events.map((event) => [event.eventId, event]));
  await Promise.all(due.map(({ name, eventId }) => startNotification(name, eventOf.get(eventId)!)));
}

function whyInConflict({ eventId, source, logged }: EventIdConflict): Reason {
  return {
    reason: 'EVENT_ID_CONFLICT',
    detail:
      `The event ${eventId} of ${source} is another one than the event ${eventId} of ${logged.source}, ` +
      `which is logged and stands at ${placeOf(logged)}. One ID stands for one event, whoever sends it.`,
  };
}
