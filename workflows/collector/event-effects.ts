/** Applies the effects of one or many events: shared by the workflows for an event and for a batch. */
import {
  ActivityFailure,
  ApplicationFailure,
  proxyActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type {
  createAuditLogActivities,
  EventIdConflict,
} from '../../activities/collector/audit-log';
import type { createCacheActivities } from '../../activities/collector/cache-eviction';
import type { createDeadLetterActivities } from '../../activities/collector/dead-letters';
import type { createMetricsActivities } from '../../activities/collector/product-metrics';
import { placeOf, type ReceivedEvent, type Refusal } from '../../events/received';
import { isFinal, localFirst, untilAcknowledged } from '../activity-policies';

type Effects = ReturnType<typeof createAuditLogActivities> &
  ReturnType<typeof createMetricsActivities> &
  ReturnType<typeof createCacheActivities>;
type DeadLetters = ReturnType<typeof createDeadLetterActivities>;

const effects = localFirst<Effects>();
const parking = localFirst<DeadLetters>();
const withKafka = proxyActivities<DeadLetters>(untilAcknowledged);

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
  const eventIds = events.map(({ eventId }) => eventId);
  return [
    effects.updateMetrics({ eventIds, workflowId: workflowInfo().workflowId }),
    effects.evictCache(events.map(({ value }) => ({ value }))),
  ].map((effect) => effect.then(() => undefined));
}

type Reason = Pick<Refusal, 'reason' | 'detail'>;

function whyFailed({ cause, message }: ActivityFailure): Reason {
  const failure = cause instanceof ApplicationFailure ? cause : undefined;
  return { reason: failure?.type ?? 'HANDLING_FAILED', detail: failure?.message ?? message };
}

function whyInConflict({ eventId, source, logged }: EventIdConflict): Reason {
  return {
    reason: 'EVENT_ID_CONFLICT',
    detail:
      `The event ${eventId} of ${source} is another one than the event ${eventId} of ${logged.source}, ` +
      `which is logged and stands at ${placeOf(logged)}. One ID stands for one event, whoever sends it.`,
  };
}

async function park(event: ReceivedEvent, why: Reason): Promise<number> {
  // Headers that are still in Kafka have to be read there, and it may be unavailable for long.
  const { parkEvent } = event.headersInKafka === true ? withKafka : parking;
  const deadLetterId = await parkEvent(event, why, workflowInfo().workflowId);
  await withKafka.copyToDeadLetterTopic(deadLetterId);
  return deadLetterId;
}
