/** `redriveDeadLetter`: sends a dead letter back to its original topic. */
import { ActivityFailure, ApplicationFailure, proxyActivities } from '@temporalio/workflow';
import type { createDeadLetterResolutionActivities } from '../../activities/collector/dead-letter-resolution';
import type { RedriveDeadLetter, RedriveOutcome } from '../../events/redrive';
import { isFinal, localFirst, untilAcknowledged } from '../activity-policies';

type Resolution = ReturnType<typeof createDeadLetterResolutionActivities>;

const resolution = localFirst<Resolution>();
const sending = proxyActivities<Resolution>(untilAcknowledged);

/**
 * Sends the dead letter and marks it as redriven. Its event goes through the bridge and `handleEvent`
 * again: it takes effect once, or is parked again as another dead letter. A message that Kafka will
 * never accept stays parked.
 */
export async function redriveDeadLetter(command: RedriveDeadLetter): Promise<RedriveOutcome> {
  const claim = await resolution.claimRedrive(command);
  if (claim.kind !== 'claimed') return claim;
  try {
    const sentTo = await sending.sendRedriven(command.deadLetterId);
    await resolution.settleRedrive(command);
    return { kind: 'redriven', sentTo };
  } catch (error) {
    const detail = refusalOf(error);
    if (detail === undefined) throw error;
    await resolution.abandonRedrive(command, detail);
    return { kind: 'refused', detail };
  }
}

function refusalOf(error: unknown): string | undefined {
  const refused = isFinal(error) && error instanceof ActivityFailure;
  return refused && error.cause instanceof ApplicationFailure ? error.cause.message : undefined;
}
