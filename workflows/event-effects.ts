/** Giving events their effects, one or many: what a workflow for one event and one for a batch share. */
import {
  ActivityFailure,
  ApplicationFailure,
  proxyActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type { createAuditLogActivities } from '../activities/audit-log';
import type { createCacheActivities } from '../activities/cache';
import type { createDeadLetterActivities } from '../activities/dead-letters';
import type { createMetricsActivities } from '../activities/metrics';
import type { ReceivedEvent } from '../events/received';
import { isFinal, localFirst, untilAcknowledged } from './activity-policies';

type Effects = ReturnType<typeof createAuditLogActivities> &
  ReturnType<typeof createMetricsActivities> &
  ReturnType<typeof createCacheActivities>;
type DeadLetters = ReturnType<typeof createDeadLetterActivities>;

const effects = localFirst<Effects>();
const parking = localFirst<DeadLetters>();
const withKafka = proxyActivities<DeadLetters>(untilAcknowledged);

/**
 * Logs the events, applies them to the metrics and evicts what they made wrong from the cache. One
 * that can never be applied is found by halving, and parked; the others have their effects.
 *
 * @throws ApplicationFailure of type `EVENT_PARKED`, once all is done, if any event was parked: the
 * workflow fails, so that it stands out in the Web UI
 */
export async function handleEvents(events: readonly ReceivedEvent[]): Promise<void> {
  const parked = await applyOrPark(events);
  if (parked.length === 0) return;
  throw ApplicationFailure.nonRetryable(
    `Parked as dead letter ${parked.join(', ')}: the effects can never be applied.`,
    'EVENT_PARKED',
  );
}

/** @returns the IDs of the dead letters that came of it */
async function applyOrPark(events: readonly ReceivedEvent[]): Promise<number[]> {
  try {
    await applyEffects(events);
    return [];
  } catch (error) {
    if (!(error instanceof ActivityFailure) || !isFinal(error)) throw error;
    const [only] = events;
    if (events.length === 1 && only !== undefined) return [await park(only, error)];
    const middle = Math.ceil(events.length / 2);
    return [
      ...(await applyOrPark(events.slice(0, middle))),
      ...(await applyOrPark(events.slice(middle))),
    ];
  }
}

// The log comes first: whatever is counted can be found in it, at every instant.
async function applyEffects(events: readonly ReceivedEvent[]): Promise<void> {
  await effects.writeAuditLog(events);
  const eventIds = events.map(({ eventId }) => eventId);
  const results = await Promise.allSettled([
    effects.updateMetrics({ eventIds, workflowId: workflowInfo().workflowId }),
    effects.evictCache(events.map(({ value }) => ({ value }))),
  ]);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function park(event: ReceivedEvent, { cause, message }: ActivityFailure): Promise<number> {
  const failure = cause instanceof ApplicationFailure ? cause : undefined;
  const why = {
    reason: failure?.type ?? 'HANDLING_FAILED',
    detail: failure?.message ?? message,
  };
  // Headers that are still in Kafka have to be read there, which may be away for long.
  const { parkEvent } = event.headersInKafka === true ? withKafka : parking;
  const deadLetterId = await parkEvent(event, why, workflowInfo().workflowId);
  await withKafka.copyToDeadLetterTopic(deadLetterId);
  return deadLetterId;
}
