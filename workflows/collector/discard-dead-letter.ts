/** `discardDeadLetter`: gives a dead letter up, and keeps it with who did so and why. */
import type { createDeadLetterResolutionActivities } from '../../activities/collector/dead-letter-resolution';
import type { DiscardDeadLetter, DiscardOutcome } from '../../events/redrive';
import { localFirst } from '../activity-policies';

const resolution = localFirst<ReturnType<typeof createDeadLetterResolutionActivities>>();

/** Marks the dead letter as discarded, unless it was sent back or is about to be. */
export async function discardDeadLetter(command: DiscardDeadLetter): Promise<DiscardOutcome> {
  return resolution.markDiscarded(command);
}
