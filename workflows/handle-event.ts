/** `handleEvent`: gives one event its effects, each exactly once. */
import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type { createAuditLogActivities } from '../activities/audit-log';
import type { createCacheActivities } from '../activities/cache';
import type { createDeadLetterActivities } from '../activities/dead-letters';
import type { createMetricsActivities } from '../activities/metrics';
import type { ReceivedEvent } from '../events/received';
import { localFirst, untilAcknowledged } from './activity-policies';

type Effects = ReturnType<typeof createAuditLogActivities> &
  ReturnType<typeof createMetricsActivities> &
  ReturnType<typeof createCacheActivities>;
type DeadLetters = ReturnType<typeof createDeadLetterActivities>;

const effects = localFirst<Effects>();
const parking = localFirst<DeadLetters>();
const copying = proxyActivities<DeadLetters>(untilAcknowledged);

/**
 * Logs the event, applies it to the metrics and evicts what it made wrong from the cache. An event
 * that can never be applied is parked, and the workflow fails, so that it stands out in the Web UI.
 *
 * @throws ApplicationFailure of type `EVENT_PARKED`
 */
export async function handleEvent(event: ReceivedEvent): Promise<void> {
  try {
    await applyEffects([event]);
  } catch (error) {
    if (isCancellation(error)) throw error;
    await park(event, error);
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

async function park(event: ReceivedEvent, error: unknown): Promise<never> {
  const failure = rootOf(error);
  const reason = failure?.type ?? 'HANDLING_FAILED';
  const detail = failure?.message ?? String(error);
  const { workflowId } = workflowInfo();
  const deadLetterId = await parking.parkEvent(event, { reason, detail }, workflowId);
  await copying.copyToDeadLetterTopic(deadLetterId);
  throw ApplicationFailure.create({
    type: 'EVENT_PARKED',
    message: `Parked as dead letter ${deadLetterId}: ${detail}`,
    nonRetryable: true,
    ...(error instanceof Error ? { cause: error } : {}),
  });
}

function rootOf(error: unknown): ApplicationFailure | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof ApplicationFailure ? cause : undefined;
}
