/** Parks an event whose effects can never be applied, as a dead letter. */
import {
  ApplicationFailure,
  proxyActivities,
  workflowInfo,
  type ActivityFailure,
} from '@temporalio/workflow';
import type { createDeadLetterActivities } from '../../activities/collector/dead-letters';
import type { ReceivedEvent, Refusal } from '../../events/received';
import { localAttempts, untilAcknowledged, type AfterAttempt } from '../activity-policies';

type DeadLetters = ReturnType<typeof createDeadLetterActivities>;

const parking = localAttempts<DeadLetters>();
const withKafka = proxyActivities<DeadLetters>(untilAcknowledged);

/** Why an event is parked. */
export type Reason = Pick<Refusal, 'reason' | 'detail'>;

/** Why an activity failed for good. */
export function whyFailed({ cause, message }: ActivityFailure): Reason {
  const failure = cause instanceof ApplicationFailure ? cause : undefined;
  return { reason: failure?.type ?? 'HANDLING_FAILED', detail: failure?.message ?? message };
}

/** Parks the event and copies it to its dead-letter topic. @returns the dead letter's ID */
export async function park(event: ReceivedEvent, why: Reason): Promise<number> {
  return (await attemptToPark(event, why))();
}

/** The local attempt to park; what follows it parks the event, and copies it. */
export async function attemptToPark(
  event: ReceivedEvent,
  why: Reason,
): Promise<AfterAttempt<number>> {
  const { workflowId } = workflowInfo();
  // Headers that are still in Kafka have to be read there, and it may be unavailable for long.
  const parked: AfterAttempt<number> =
    event.headersInKafka === true
      ? () => withKafka.parkEvent(event, why, workflowId)
      : await parking.parkEvent(event, why, workflowId);
  return async () => {
    const deadLetterId = await parked();
    await withKafka.copyToDeadLetterTopic(deadLetterId);
    return deadLetterId;
  };
}
